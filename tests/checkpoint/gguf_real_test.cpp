// SmolLM2-135M-Instruct from GGUF to GGUF. Witnesses: the published file itself; blocks that are made at load; the package
// gguf 0.19, which dequantised every tensor of these files to the values that are read here; llama.cpp (as in
// llama-cpp-python 0.3.16, f32 cache), which continued the prompt.

#include <doctest/doctest.h>

#include <cstring>

#include "autograd/tape.h"
#include "data/sha256.h"
#include "infer/generate.h"
#include "kernels/common/check.h"
#include "models/checkpoint/dequantized.h"
#include "models/checkpoint/gguf_tokenizer.h"
#include "models/convert/gguf.h"
#include "tests/support/real_models.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

std::unique_ptr<Checkpoint> to_gguf(const Checkpoint& source, const std::filesystem::path& to,
                                    std::optional<DType> dtype) {
    const ConvertOptions options{.naming = LlamaNaming::gguf, .dtype = dtype};
    const Plan plan = plan_conversion(source, options);
    write_gguf_file(to, gguf_metadata(source, options, plan), streamed(source, plan), {});
    return open_checkpoint(to);
}

Llama load(const Checkpoint& checkpoint, DType panels) {
    const Weights weights(checkpoint);
    Llama llama = Llama::load(weights, llama_config(checkpoint), panels);
    weights.finish();
    return llama;
}

Tensor prompt(const Llama& llama, const std::vector<int32_t>& ids) {
    return llama.embed(Tensor::from(ids, {std::ssize(ids)}));
}

std::vector<double> logits(const Checkpoint& checkpoint, DType panels, const std::vector<int32_t>& ids) {
    const Llama llama = load(checkpoint, panels);
    const int64_t rows[] = {std::ssize(ids)};
    LlamaPass pass;
    pass.borders = kernels::make_borders(rows);
    pass.positions = LlamaPass::positions_for(pass.borders);
    return llama.logits(llama.forward(prompt(llama, ids), pass)).values();
}

std::vector<int32_t> next_tokens(const Checkpoint& checkpoint, DType panels, const std::vector<int32_t>& ids,
                                 int64_t n) {
    const Llama llama = load(checkpoint, panels);
    KvCache cache(llama.config(), 1, 64);
    const int64_t rows[] = {std::ssize(ids)};
    GenerateOptions options;
    options.max_new_tokens = n;
    return generate(llama, prompt(llama, ids), kernels::make_borders(rows), cache, options)[0].tokens;
}

std::string hash_of(const std::filesystem::path& file) {
    const std::string text = read_all(file);
    return sha256_bytes(std::as_bytes(std::span(text)));
}

}  // namespace

TEST_CASE("gguf: SmolLM2's file written again is the same file, byte for byte") {
    TempFolder folder;
    const auto source = open_checkpoint(real_model("smollm2-135m-instruct-q4_1"));
    to_gguf(*source, folder / "same.gguf", {});
    CHECK(hash_of(folder / "same.gguf") == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53");
    // q4_1 asked for is what it has
    const auto q4_1 = to_gguf(*source, folder / "q4_1.gguf", DType::q4_1);
    CHECK(hash_of(folder / "q4_1.gguf") == hash_of(folder / "same.gguf"));
}

TEST_CASE("gguf: SmolLM2 quantised again computes what --frozen computes, and what llama.cpp does") {
    const NoGrad no_grad;
    TempFolder folder;
    const auto source = open_checkpoint(real_model("smollm2-135m-instruct-q4_1"));
    const std::vector<int32_t> ids = tokenizer_from_gguf(*source)->encode("The capital of France is");
    CHECK(ids == std::vector<int32_t>{504, 3575, 282, 4649, 314});
    struct Expected {
        DType dtype;
        const char* hash;  // of the file that the two witnesses read
        std::vector<int32_t> next;
    };
    const std::vector<int32_t> paris{7042, 30, 198, 198, 504, 2988, 314, 42, 216, 34, 32, 33};
    for (const Expected& e :
         {Expected{DType::q8_0, "68ceeb8b78a4efd8c8f555ac2f95838571906bf9c9246eb1923e5bce630e2f3a", paris},
          {DType::q4_0,
           "dad7f4fe97e779a1e05bbc43030937ed4d626c6da5c658ebc6e8d7d4a291f1bc",
           {4723, 216, 35, 33, 37, 32, 6381, 365, 31178, 216, 34, 32}},
          {DType::int8, "408c7ef2cf70ba21172aa65ccd252e451a9481b939909c89e383ac6ed19ef77a", paris}}) {
        CAPTURE(name(e.dtype));
        const auto file = to_gguf(*source, folder / "x.gguf", e.dtype);
        CHECK(hash_of(folder / "x.gguf") == e.hash);
        const DType stored = e.dtype == DType::int8 ? DType::q8_0 : e.dtype;
        CHECK(logits(*file, stored, ids) == logits(*source, e.dtype, ids));
        CHECK(next_tokens(*file, stored, ids, 12) == e.next);
        // metadata are kept
        for (const auto& [key, value] : source->metadata().items())
            if (key != "general.file_type") CHECK_MESSAGE(file->metadata()[key] == value, key);
        CHECK(file->metadata().size() == source->metadata().size());
        CHECK(file->metadata()["general.file_type"] == (e.dtype == DType::q4_0 ? 2 : 7));
    }
}
