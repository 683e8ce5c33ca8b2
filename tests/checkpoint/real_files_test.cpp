// Witness: the published files themselves; counts, shapes and sizes from their description, known first bytes.

#include <doctest/doctest.h>

#include <map>

#include "models/checkpoint/checkpoint.h"
#include "tests/support/real_models.h"

using namespace wavllm;
using namespace wavllm::tests;

TEST_CASE("gguf: SmolLM2-135M-Instruct as published") {
    const auto file = open_checkpoint(real_model("smollm2-135m-instruct-q4_1"));
    std::map<DType, int> count;
    int64_t parameters = 0;
    for (const StoredTensor& tensor : file->tensors()) {
        ++count[tensor.dtype];
        int64_t elements = 1;
        for (const int64_t dim : tensor.shape) elements *= dim;
        parameters += elements;
    }
    CHECK(count == std::map<DType, int>{{DType::q4_1, 210}, {DType::q8_0, 1}, {DType::f32, 61}});
    CHECK(parameters == 134515008);
    CHECK(file->at("token_embd.weight").shape == std::vector<int64_t>{49152, 576});
    CHECK(file->at("blk.0.ffn_down.weight").shape == std::vector<int64_t>{576, 1536});
    CHECK(file->metadata()["llama.rope.freq_base"] == 100000.0f);
    CHECK(file->metadata()["llama.attention.head_count_kv"] == 3);
}

TEST_CASE("ctranslate2: Whisper base as published, joined from two packages") {
    const auto file = open_checkpoint(real_model("whisper-base"));
    CHECK(file->metadata()["spec"] == "WhisperSpec");
    CHECK(file->metadata()["settings"]["encoder/num_heads"] == 8);
    CHECK(file->at("encoder/conv1/weight").shape == std::vector<int64_t>{512, 80, 3});
    CHECK(file->at("encoder/layer_0/self_attention/linear_0/weight").shape == std::vector<int64_t>{1536, 512});
    CHECK(file->at("encoder/layer_0/self_attention/linear_0/weight").dtype == DType::f16);
    CHECK(file->at("decoder/projection/weight").bytes.data() == file->at("decoder/embeddings/weight").bytes.data());
}
