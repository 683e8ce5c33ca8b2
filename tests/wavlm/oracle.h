#pragma once
// A WavLM of 24 dimensions, like base and like large, with weights by formula, and what transformers 4.46.3 says of it in
// float64 (its WavLMModel, weight norm removed): hidden states, and gradients of the sum of cos(j) y[j] over the last one.

#include <cmath>

#include "models/wavlm/encoder.h"

namespace wavllm::tests {

inline WavlmConfig oracle_config(bool large) {
    WavlmConfig c;
    c.dim = 24;
    c.layers = 2;
    c.heads = 3;
    c.ffn = 40;
    c.conv_dim.assign(7, 8);
    c.conv_bias = c.conv_layer_norm = c.pre_norm = large;
    c.position_kernel = 10;
    c.position_groups = 4;
    c.buckets = 16;
    c.max_distance = 20;
    return c;
}

/// Trainable. Parameter i of a tensor is a sin(0.013 (i + 1)^2 + length of its name), plus 1 in norms and gate constants.
inline WavlmEncoder oracle_encoder(bool large) {
    WavlmEncoder encoder(oracle_config(large), 1);
    for (const Parameter& p : encoder.parameters()) {
        if (p.name == "masked_spec_embed") continue;
        const bool constant = p.name.ends_with("const"), matrix = p.tensor.rank() > 1 && !constant;
        const double one = constant || p.name.ends_with("norm.weight") ? 1 : 0;
        double a = matrix ? 1.5 / std::sqrt(static_cast<double>(p.tensor.numel() / p.tensor.dim(0))) : 0.1;
        if (p.name.ends_with("embed.weight")) a = 1;
        Tensor values = Tensor::empty(p.tensor.shape()), target = p.tensor;
        for (int64_t i = 0; i < values.numel(); ++i) {
            const auto n = static_cast<double>(i + 1);
            values.mutable_data<float>()[i] =
                static_cast<float>(a * std::sin(0.013 * n * n + static_cast<double>(p.name.size())) + one);
        }
        target.assign(values);
    }
    return encoder;
}

/// A rising tone.
inline Tensor tone(int64_t samples) {
    Tensor x = Tensor::empty({samples});
    for (int64_t i = 0; i < samples; ++i) {
        const auto t = static_cast<double>(i);
        x.mutable_data<float>()[i] = static_cast<float>(0.3 * std::sin(0.05 * t + 1e-5 * t * t));
    }
    return x;
}
inline constexpr int64_t kOracleSamples = 12000;

/// Of every hidden state [37, 24]: sum of |h|, h[0, 0], h[17, 5], h[36, 23].
inline constexpr double kHiddenBase[3][4] = {
    {724.277458, -0.213664122, 1.03768893, -1.17628512},
    {712.531246, -0.125669381, 1.73274456, -1.8221635},
    {713.997404, 0.266668622, 1.25473799, -2.24732452},
};
inline constexpr double kHiddenLarge[3][4] = {
    {790.694689, 0.0887537124, 1.21561137, -1.38245897},
    {1078.51142, -0.730386154, 2.84167129, -1.74449787},
    {722.190014, -1.47830155, 2.04669443, -2.0376714},
};

/// Length of the gradient, and its sum with cos(1), cos(2), ... as weights. (Of k_proj.bias the true gradient is 0.)
struct OracleGradient {
    const char* name;
    double length, sum;
};
inline constexpr OracleGradient kGradientsBase[] = {
    {"feature_extractor.conv_layers.0.conv.weight", 428.573897, -298.599041},
    {"feature_extractor.conv_layers.0.layer_norm.weight", 47.2021823, -19.7953875},
    {"feature_extractor.conv_layers.0.layer_norm.bias", 27.2988287, -26.0702186},
    {"feature_extractor.conv_layers.3.conv.weight", 96.6794579, -75.3594787},
    {"feature_projection.layer_norm.weight", 22.8969798, 11.9356757},
    {"feature_projection.layer_norm.bias", 17.4009092, 8.35924309},
    {"feature_projection.projection.weight", 63.5128343, -49.2168816},
    {"feature_projection.projection.bias", 17.3621552, -8.53402522},
    {"encoder.pos_conv_embed.conv.bias", 15.4495031, -3.8792948},
    {"encoder.pos_conv_embed.conv.weight", 95.3935703, -62.1541497},
    {"encoder.layer_norm.weight", 23.0304641, -32.7739267},
    {"encoder.layer_norm.bias", 14.3416944, 8.68287097},
    {"encoder.layers.0.attention.gru_rel_pos_const", 0.445015528, -0.112767387},
    {"encoder.layers.0.attention.k_proj.weight", 27.292135, 9.28153624},
    {"encoder.layers.0.attention.v_proj.weight", 39.3826968, -0.410564731},
    {"encoder.layers.0.attention.v_proj.bias", 8.20319208, 2.45992069},
    {"encoder.layers.0.attention.q_proj.weight", 31.5426921, -4.98920045},
    {"encoder.layers.0.attention.q_proj.bias", 3.97256336, 2.12595051},
    {"encoder.layers.0.attention.out_proj.weight", 59.6234448, 15.0786268},
    {"encoder.layers.0.attention.out_proj.bias", 8.62780427, 7.25237283},
    {"encoder.layers.0.attention.gru_rel_pos_linear.weight", 2.46744401, 0.349541441},
    {"encoder.layers.0.attention.gru_rel_pos_linear.bias", 0.805561033, -0.820395165},
    {"encoder.layers.0.attention.rel_attn_embed.weight", 10.5288541, 6.28706217},
    {"encoder.layers.0.layer_norm.weight", 12.8984529, -13.7033966},
    {"encoder.layers.0.layer_norm.bias", 10.5331515, 12.7164839},
    {"encoder.layers.0.feed_forward.intermediate_dense.weight", 47.7084731, 15.9940863},
    {"encoder.layers.0.feed_forward.intermediate_dense.bias", 7.14926824, 5.36181056},
    {"encoder.layers.0.feed_forward.output_dense.weight", 46.7515535, -24.2582548},
    {"encoder.layers.0.feed_forward.output_dense.bias", 7.04503447, -1.32437895},
    {"encoder.layers.0.final_layer_norm.weight", 12.525824, -19.8665306},
    {"encoder.layers.0.final_layer_norm.bias", 8.03807844, -2.45626265},
};
inline constexpr OracleGradient kGradientsLarge[] = {
    {"feature_extractor.conv_layers.0.conv.weight", 245.377377, 152.529778},
    {"feature_extractor.conv_layers.0.conv.bias", 606.345049, 191.422493},
    {"feature_extractor.conv_layers.0.layer_norm.weight", 20.8105519, 9.71331057},
    {"feature_extractor.conv_layers.0.layer_norm.bias", 36.4689055, -25.2953356},
    {"feature_extractor.conv_layers.6.conv.weight", 85.4983536, 84.1769453},
    {"feature_extractor.conv_layers.6.conv.bias", 19.6525668, -18.144068},
    {"feature_extractor.conv_layers.6.layer_norm.weight", 10.1983305, -1.96511232},
    {"feature_extractor.conv_layers.6.layer_norm.bias", 11.0850887, -5.87811938},
    {"feature_projection.projection.weight", 40.990412, 19.3608565},
    {"encoder.pos_conv_embed.conv.weight", 65.8498784, 31.9252835},
    {"encoder.layer_norm.weight", 9.29935801, 0.54881225},
    {"encoder.layer_norm.bias", 5.49268469, -15.0863816},
    {"encoder.layers.0.attention.rel_attn_embed.weight", 5.84853706, -3.63349226},
    {"encoder.layers.0.layer_norm.weight", 7.86482768, -1.7655177},
    {"encoder.layers.0.layer_norm.bias", 9.63432134, -19.0035942},
    {"encoder.layers.0.final_layer_norm.weight", 8.44052618, 9.60604738},
    {"encoder.layers.0.final_layer_norm.bias", 6.30738663, 12.0172863},
    {"encoder.layers.1.attention.gru_rel_pos_const", 0.473428683, 0.527551263},
    {"encoder.layers.1.attention.k_proj.weight", 7.87347273, 0.654500851},
    {"encoder.layers.1.attention.v_proj.weight", 15.97198, 11.1678468},
    {"encoder.layers.1.attention.v_proj.bias", 3.16968333, -5.00761795},
    {"encoder.layers.1.attention.q_proj.weight", 11.5054937, 17.9164368},
    {"encoder.layers.1.attention.q_proj.bias", 1.99316617, -2.68963679},
    {"encoder.layers.1.attention.out_proj.weight", 17.9881811, 5.37443407},
    {"encoder.layers.1.attention.out_proj.bias", 3.59728783, -6.17568432},
    {"encoder.layers.1.attention.gru_rel_pos_linear.weight", 1.1427452, -0.0478133801},
    {"encoder.layers.1.attention.gru_rel_pos_linear.bias", 0.195695615, -0.234259351},
    {"encoder.layers.1.feed_forward.output_dense.weight", 16.9830016, -1.5988171},
};

}  // namespace wavllm::tests
