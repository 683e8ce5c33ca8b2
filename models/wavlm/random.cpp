#include "models/wavlm/random.h"

#include "models/random_checkpoint.h"

namespace wavllm {

WavlmEncoder random_wavlm_encoder(const WavlmConfig& config, uint64_t seed, DType panels) {
    config.check();
    RandomCheckpoint c(seed, panels == DType::f32 ? DType::f32 : DType::bf16);
    const int64_t d = config.dim;
    const auto norm = [&](const std::string& name, int64_t dim) {
        c.constant(name + ".weight", dim, 1);
        c.constant(name + ".bias", dim, 0);
    };
    const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
        c.matrix(name + ".weight", {out, in});
        c.constant(name + ".bias", out, 0);
    };
    int64_t channels = 1;
    for (size_t i = 0; i < config.conv_dim.size(); ++i) {
        const std::string name = fmt::format("feature_extractor.conv_layers.{}", i);
        const int64_t out = config.conv_dim[i];
        c.matrix(name + ".conv.weight", {out, channels, config.conv_kernel[i]});
        if (config.conv_bias) c.constant(name + ".conv.bias", out, 0);
        if (i == 0 || config.conv_layer_norm) norm(name + ".layer_norm", out);
        channels = out;
    }
    norm("feature_projection.layer_norm", channels);
    linear("feature_projection.projection", d, channels);
    c.matrix("encoder.pos_conv_embed.conv.weight", {d, d / config.position_groups, config.position_kernel});
    c.constant("encoder.pos_conv_embed.conv.bias", d, 0);
    norm("encoder.layer_norm", d);
    for (int64_t i = 0; i < config.layers; ++i) {
        const std::string layer = fmt::format("encoder.layers.{}.", i), attention = layer + "attention.";
        for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"}) linear(attention + name, d, d);
        linear(attention + "gru_rel_pos_linear", 8, config.head_dim());
        c.constant(attention + "gru_rel_pos_const", std::vector<int64_t>{1, config.heads, 1, 1}, 1);
        if (i == 0) c.matrix(attention + "rel_attn_embed.weight", {config.buckets, config.heads});
        norm(layer + "layer_norm", d);
        linear(layer + "feed_forward.intermediate_dense", config.ffn, d);
        linear(layer + "feed_forward.output_dense", d, config.ffn);
        norm(layer + "final_layer_norm", d);
    }
    c.finish();
    const Weights weights(c);
    WavlmEncoder encoder = WavlmEncoder::load(weights, config, panels);
    weights.finish();
    return encoder;
}

}  // namespace wavllm
