#include "models/whisper/random.h"

#include "models/random_checkpoint.h"

namespace wavllm {

WhisperEncoder random_whisper_encoder(const WhisperConfig& config, uint64_t seed, DType panels) {
    config.check();
    RandomCheckpoint c(seed, panels == DType::f32 ? DType::f32 : DType::bf16);
    const int64_t d = config.dim, f = config.encoder_ffn;
    const auto norm = [&](const std::string& name) {
        c.constant(name + ".weight", d, 1);
        c.constant(name + ".bias", d, 0);
    };
    const auto linear = [&](const std::string& name, int64_t out, int64_t in, bool bias = true) {
        c.matrix(name + ".weight", {out, in});
        if (bias) c.constant(name + ".bias", out, 0);
    };
    c.matrix("conv1.weight", {d, config.mels, 3});
    c.constant("conv1.bias", d, 0);
    c.matrix("conv2.weight", {d, d, 3});
    c.constant("conv2.bias", d, 0);
    c.matrix("embed_positions.weight", {config.max_source_positions, d});
    for (int64_t i = 0; i < config.encoder_layers; ++i) {
        const std::string p = fmt::format("layers.{}.", i);
        norm(p + "self_attn_layer_norm");
        linear(p + "self_attn.q_proj", d, d);
        linear(p + "self_attn.k_proj", d, d, false);
        linear(p + "self_attn.v_proj", d, d);
        linear(p + "self_attn.out_proj", d, d);
        norm(p + "final_layer_norm");
        linear(p + "fc1", f, d);
        linear(p + "fc2", d, f);
    }
    norm("layer_norm");
    c.finish();
    const Weights weights(c);
    WhisperEncoder encoder = WhisperEncoder::load(weights, config, panels);
    weights.finish();
    return encoder;
}

}  // namespace wavllm
