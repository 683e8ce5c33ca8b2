// Frozen weights in few bytes: random models that never lie in memory in f32, and training through quantised weights.
// Witness: the same values dequantised and packed in bf16, bit for bit; published parameter counts.

#include <doctest/doctest.h>

#include <cstring>

#include "autograd/ops/linear.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "models/known_sizes.h"
#include "models/random_checkpoint.h"
#include "models/whisper/random.h"
#include "tensor/quantize.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

LlamaConfig config_of_blocks() {
    LlamaConfig c = tiny_llama_config();
    c.ffn = 64;  // whole blocks
    return c;
}

/// The random weights of a LLaMA, its matrices rounded to what a format holds.
class Rounded final : public Checkpoint {
public:
    Rounded(const LlamaConfig& k, DType dtype) : Checkpoint("(rounded)"), original_(3, DType::bf16), dtype_(dtype) {
        original_.matrix("tok_embeddings.weight", {k.vocab, k.dim});
        original_.constant("norm.weight", k.dim, 1);
        original_.matrix("output.weight", {k.vocab, k.dim});
        const int64_t kv = k.kv_heads * k.head_dim();
        for (int64_t i = 0; i < k.layers; ++i) {
            const std::string p = fmt::format("layers.{}.", i);
            original_.constant(p + "attention_norm.weight", k.dim, 1);
            original_.constant(p + "ffn_norm.weight", k.dim, 1);
            for (const auto& [name, out, in] : {std::tuple{"attention.wq", k.dim, k.dim},
                                                {"attention.wk", kv, k.dim},
                                                {"attention.wv", kv, k.dim},
                                                {"attention.wo", k.dim, k.dim},
                                                {"feed_forward.w1", k.ffn, k.dim},
                                                {"feed_forward.w3", k.ffn, k.dim},
                                                {"feed_forward.w2", k.dim, k.ffn}})
                original_.matrix(fmt::format("{}{}.weight", p, name), {out, in});
        }
        original_.finish();
        tensors_ = original_.tensors();
        for (StoredTensor& t : tensors_) t.dtype = t.name.starts_with("tok") ? DType::bf16 : DType::f32;
        index_names();
    }
    const std::vector<StoredTensor>& tensors() const override {
        return tensors_;
    }
    const nlohmann::json& metadata() const override {
        return original_.metadata();
    }
    std::string_view format() const override {
        return "random";
    }
    void row(const StoredTensor& t, int64_t row, float* to) const override {
        original_.row(original_.at(t.name), row, to);
        if (t.shape.size() < 2 || t.name.starts_with("tok") || !info(dtype_).frozen_block) return;
        const auto n = static_cast<size_t>(t.shape.back());
        const DType dtype = t.name.starts_with("output") ? DType::q8_0 : dtype_;  // the head is held finer
        std::vector<char> blocks(bytes_for(dtype, n));
        quantize_row(dtype, to, n, blocks.data(), t.name);
        dequantize(dtype, blocks.data(), to, n);
    }

private:
    RandomCheckpoint original_;
    DType dtype_;
    std::vector<StoredTensor> tensors_;
};

struct Pass {
    Tensor logits, dx;
};

Pass run(const Llama& llama) {
    const int64_t rows[] = {5, 11};
    Tensor x = Tensor::empty({16, llama.config().dim});
    const Philox rng(8, "x", 0);
    for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<float>()[i] = rng.normal(static_cast<uint64_t>(i));
    set_requires_grad(x);
    LlamaPass pass;
    pass.borders = kernels::make_borders(rows);
    pass.positions = LlamaPass::positions_for(pass.borders);
    const Tensor logits = llama.logits(llama.forward(x, pass));
    backward(logits, Tensor::full(logits.shape(), 0.25));
    return {logits, grad(x)};
}

}  // namespace

TEST_CASE("frozen weights: forward and gradient are those of the dequantised weights, to the bit") {
    const LlamaConfig config = config_of_blocks();
    for (const DType dtype : {DType::int8, DType::q8_0, DType::q4_1, DType::q4_0}) {
        CAPTURE(name(dtype));
        const Pass quantised = run(random_llama(config, 3, false, dtype));
        const Rounded rounded(config, dtype);
        const Weights weights(rounded);
        const Llama reference = Llama::load(weights, config, DType::bf16);
        weights.finish();
        const Pass expected = run(reference);
        CHECK(bytes_of(quantised.logits) == bytes_of(expected.logits));
        CHECK(bytes_of(quantised.dx) == bytes_of(expected.dx));
        CHECK(bytes_of(quantised.logits) != bytes_of(run(random_llama(config, 3, false, DType::bf16)).logits));
    }
}

TEST_CASE("frozen weights: random models are the same row by row and as a whole, and never whole in f32") {
    const LlamaConfig config = config_of_blocks();
    const Rounded rows(config, DType::bf16);  // drawn in bf16, rounded no further
    const Weights weights(rows);
    const Llama again = Llama::load(weights, config, DType::bf16);
    CHECK(bytes_of(run(again).logits) == bytes_of(run(random_llama(config, 3, false, DType::bf16)).logits));
    LlamaConfig wide = config;
    wide.dim = 256;
    wide.ffn = 4096;
    const auto matrix = static_cast<size_t>(wide.ffn * wide.dim) * sizeof(float);
    for (const DType dtype : {DType::int8, DType::q4_1}) {
        CAPTURE(name(dtype));
        memory::reset_peaks();
        const Llama llama = random_llama(wide, 3, false, dtype);
        CHECK(memory::total().peak - memory::total().bytes < matrix / 4);  // what was there for a while
    }
}

TEST_CASE("frozen weights: a random encoder runs on what it was packed in") {
    const WhisperConfig config{
        .dim = 64, .encoder_layers = 2, .heads = 2, .encoder_ffn = 128, .max_source_positions = 40};
    const int64_t chunks[] = {40, 21};
    Tensor mel = Tensor::empty({61, 80});
    const Philox rng(9, "mel", 0);
    for (int64_t i = 0; i < mel.numel(); ++i) mel.mutable_data<float>()[i] = rng.normal(static_cast<uint64_t>(i));
    const NoGrad no_grad;
    const std::vector<double> exact =
        random_whisper_encoder(config, 1, DType::bf16).forward(mel, kernels::make_borders(chunks)).values();
    for (const auto& [dtype, allowed] : {std::pair{DType::int8, 0.1}, {DType::q8_0, 0.1}, {DType::q4_1, 1.0}}) {
        CAPTURE(name(dtype));
        const std::vector<double> y =
            random_whisper_encoder(config, 1, dtype).forward(mel, kernels::make_borders(chunks)).values();
        double worst = 0;
        for (size_t i = 0; i < y.size(); ++i) worst = std::max(worst, std::abs(y[i] - exact[i]));
        CHECK(worst > 0);
        CHECK(worst < allowed);  // the final norm makes values of about 1
    }
}

TEST_CASE("known sizes: parameters as their authors count them") {
    CHECK(parameters_of(known_llama("llama-2-7b-chat")) == 6738415616);               // the 7B's model card
    CHECK(parameters_of(known_llama("smollm2-135m"), true) == 134515008);             // SmolLM2-135M's
    CHECK(parameters_of(known_llama("tinyllama-1.1b")) == 1100048384);                // TinyLlama's
    CHECK(parameters_of_encoder(known_whisper_encoder("whisper-base")) == 20590592);  // 72,593,920 less the decoder's
    CHECK(parameters_of_encoder(known_wavlm("wavlm-base")) == 94381936);
    // the paper: 7.55 billion with 76,636,941 trained
    const int64_t all = parameters_of(known_llama("llama-2-7b-chat")) +
                        parameters_of_encoder(known_wavlm("wavlm-base")) +
                        parameters_of_encoder(known_whisper_encoder("whisper-large-v2")) + 76636941;
    CHECK(all / 10'000'000 == 754);  // 7.546 billion
    CHECK(message_of<UsageError>([] { known_llama("llama-3"); }).find("llama-2-7b-chat") != std::string::npos);
    CHECK_THROWS_AS(known_whisper_encoder("whisper-huge"), UsageError);
}
