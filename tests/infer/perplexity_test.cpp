// Perplexity. Witnesses: a softmax in float64 over a tiny model's logits; transformers 4.46 (PyTorch 2.5, f32) on
// SmolLM2-135M-Instruct's dequantised GGUF weights, on the text that comes with this project.

#include "infer/perplexity.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <iterator>

#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "models/checkpoint/dequantized.h"
#include "models/checkpoint/gguf_tokenizer.h"
#include "tests/support/real_models.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

Llama load(const Checkpoint& checkpoint, DType panels) {
    const Weights weights(checkpoint);
    return Llama::load(weights, llama_config(checkpoint), panels);
}

}  // namespace

TEST_CASE("perplexity: windows of a tiny model, by a softmax in float64") {
    const Llama llama = random_llama(tiny_llama_config(), 3);
    std::vector<int32_t> ids(23);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 7 % 64);
    const Perplexity p = perplexity(llama, ids, 10);  // 10, 10, 3
    CHECK(p.tokens == 9 + 9 + 2);
    const NoGrad no_grad;
    double nats = 0;
    for (int64_t begin = 0; begin < 23; begin += 10) {
        const int64_t n = std::min<int64_t>(10, 23 - begin), rows[] = {n};
        LlamaPass pass;
        pass.borders = kernels::make_borders(rows);
        pass.positions = LlamaPass::positions_for(pass.borders);
        const Tensor window = Tensor::from(std::vector<int32_t>(ids.begin() + begin, ids.begin() + begin + n), {n});
        const std::vector<double> z = llama.logits(llama.forward(llama.embed(window), pass)).values();
        for (int64_t i = 0; i + 1 < n; ++i) {
            double sum = 0;
            for (int64_t v = 0; v < 64; ++v) sum += std::exp(z[static_cast<size_t>(i * 64 + v)]);
            nats += std::log(sum) - z[static_cast<size_t>(i * 64 + ids[static_cast<size_t>(begin + i + 1)])];
        }
    }
    CHECK(p.nats == doctest::Approx(nats).epsilon(1e-6));
    CHECK(p.value() == doctest::Approx(std::exp(nats / 20)).epsilon(1e-6));
    CHECK(message_of<UsageError>([&] { perplexity(llama, ids, 129); }).find("128") != std::string::npos);
    CHECK_THROWS_AS(perplexity(llama, std::span(ids).first(1), 10), UsageError);
}

TEST_CASE("perplexity: SmolLM2 in every format of frozen weights") {
    const auto checkpoint = open_checkpoint(real_model("smollm2-135m-instruct-q4_1"));
    std::ifstream in(std::filesystem::path(WAVLLM_SOURCE_DIR) / "samples/text/perplexity.txt", std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    std::vector<int32_t> ids = tokenizer_from_gguf(*checkpoint)->encode(text);
    CHECK(ids.size() == 6762);  // Hugging Face's tokenizers 0.20 on the GGUF's vocabulary and merges
    ids.resize(512);
    const auto nats = [&](const Checkpoint& c, DType panels) { return perplexity(load(c, panels), ids, 512).nats; };
    const double f32 = nats(*checkpoint, DType::f32);
    CHECK(f32 == doctest::Approx(2106.48762).epsilon(1e-5));  // transformers, the first window
    const auto wide = dequantized(*checkpoint);
    CHECK(nats(*wide, DType::f32) == f32);
    // the file's own Q4_1, and its values as bf16: the same to the bit (its Q8_0 is the embedding, which as f32 would be
    // rounded to bf16 and as Q8_0 is not)
    const double bf16 = nats(*checkpoint, DType::bf16);
    CHECK(nats(*dequantized(*checkpoint, DType::q4_1), DType::bf16) == bf16);
    const auto percent = [&](double n) { return 100 * (std::exp((n - f32) / 511) - 1); };
    CHECK(std::abs(percent(bf16)) < 0.1);
    CHECK(std::abs(percent(nats(*checkpoint, DType::int8))) < 0.5);
}
