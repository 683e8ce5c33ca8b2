#pragma once
// A WavLLM of a few thousand parameters with random weights and made-up clips: everything a training step does, in
// milliseconds.

#include "models/llama/random.h"
#include "models/wavllm/example.h"
#include "tensor/philox.h"
#include "train/trainer.h"

namespace wavllm::tests {

inline LlamaConfig tiny_llama_config() {
    LlamaConfig c;
    c.dim = 32;
    c.layers = 2;
    c.heads = 4;
    c.kv_heads = 2;
    c.ffn = 48;
    c.vocab = 64;
    c.max_positions = 128;
    return c;
}

inline Wavllm tiny_model(double lora_dropout = 0.1, uint64_t seed = 5) {
    auto llama = std::make_shared<const Llama>(random_llama(tiny_llama_config(), 3));
    BridgeConfig bridge;
    bridge.semantic = {.in = 24, .mid = 32, .dim = 16, .bottleneck = 8, .out = 32};
    bridge.llm_dim = 32;
    bridge.output_norm = 0.5;
    return {llama, SpeechBridge(bridge, seed),
            Lora({.rank = 4, .alpha = 8, .dropout = lora_dropout}, 2, llama->lora_dims(), seed)};
}

/// The same with a CTC head.
inline Wavllm tiny_ctc_model(uint64_t seed = 5) {
    Wavllm model = tiny_model(0.1, seed);
    return {model.shared_llama(), model.bridge(), model.lora(), CtcHead(32, seed)};
}

/// Clips of different lengths; the answer is told by the clip's mean, so there is something to learn.
inline std::vector<SpeechExample> tiny_examples(size_t n) {
    std::vector<SpeechExample> examples(n);
    for (size_t i = 0; i < n; ++i) {
        SpeechExample& e = examples[i];
        const Philox rng(17, "tiny", static_cast<uint32_t>(i));
        const int64_t rows = 9 + static_cast<int64_t>(rng.bits(0) % 25);
        const auto kind = static_cast<int32_t>(i % 4);
        e.id = fmt::format("clip{}", i);
        e.key = static_cast<int64_t>(i);
        e.seconds = static_cast<double>(rows) / 50;
        e.features = Tensor::empty({rows, 24});
        e.chunk_rows = {rows};
        for (int64_t j = 0; j < e.features.numel(); ++j)
            e.features.mutable_data<float>()[j] =
                rng.normal(static_cast<uint64_t>(j) + 1) + (j % 4 == kind ? 2.0f : 0.0f);
        e.ids = {{1, 5, 6}, {7, 8, 9, 10}, {20 + kind, 30 + kind, 2}};
        e.reference = fmt::format("{} {}", 20 + kind, 30 + kind);
    }
    return examples;
}

/// Every id is the word of its number.
class NumberTokenizer final : public Tokenizer {
public:
    std::vector<int32_t> encode(std::string_view, bool) const override {
        return {};
    }
    std::string token_bytes(int32_t id) const override {
        return std::to_string(id) + " ";
    }
    bool is_special(int32_t id) const override {
        return id < 3;
    }
    std::optional<int32_t> id_of(std::string_view) const override {
        return std::nullopt;
    }
    int32_t vocab_size() const override {
        return 64;
    }
    std::optional<int32_t> bos() const override {
        return 1;
    }
    std::optional<int32_t> eos() const override {
        return 2;
    }
};

inline Preset tiny_preset(int64_t steps) {
    Preset p;
    p.name = "tiny";
    p.train.steps = steps;
    p.train.warmup_steps = 2;
    p.train.adapter_rate = 5e-3;
    p.train.lora_rate = 5e-3;
    p.train.save_every = 3;
    p.train.keep = 2;
    p.train.validate_every = 7;
    p.data.batch_clips = 4;
    p.data.bucket_batches = 2;
    p.data.max_new_tokens = 4;
    return p;
}

/// A warm start of the adapter by CTC, then everything by cross-entropy with CTC beside it; the clips in two sets.
inline Preset tiny_staged_preset(int64_t ctc_steps, int64_t joint_steps) {
    Preset p = tiny_preset(joint_steps);
    p.data.train = {{"few", "few.tsv"}, {"many", "many.tsv"}};
    p.ctc = {.frequent = 6, .random = 5};
    Stage ctc;
    ctc.name = "ctc";
    ctc.steps = ctc_steps;
    ctc.trains = "adapter";
    ctc.warmup_steps = 2;
    ctc.adapter_rate = 5e-3;
    ctc.batch_clips = 4;
    ctc.ce_weight = 0;
    ctc.ctc_weight = 1;
    ctc.time_mask = 0.2;
    ctc.time_mask_frames = 4;
    ctc.feature_dropout = 0.1;
    Stage joint = ctc;
    joint.name = "joint";
    joint.steps = joint_steps;
    joint.trains = "adapter+lora";
    joint.lora_rate = 5e-3;
    joint.ce_weight = 1;
    joint.ctc_weight = 0.2;
    joint.shares = {{"few", 1}, {"many", 2}};
    p.stages = {ctc, joint};
    return p;
}

inline std::vector<const SpeechExample*> pointers(std::span<const SpeechExample> examples) {
    std::vector<const SpeechExample*> result;
    for (const SpeechExample& e : examples) result.push_back(&e);
    return result;
}

inline std::string bytes_of(const Tensor& t) {
    return {static_cast<const char*>(t.raw()), t.bytes()};
}

}  // namespace wavllm::tests
