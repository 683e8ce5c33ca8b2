#include "models/whisper/encoder.h"

#include "autograd/ops/add.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/conv1d.h"
#include "autograd/ops/gelu.h"
#include "kernels/add/add.h"
#include "kernels/common/check.h"

namespace wavllm {

namespace {

constexpr int64_t kTaps = 3;
constexpr ConvGeometry kConv1{.stride = 1, .padding = 1}, kConv2{.stride = 2, .padding = 1};

}  // namespace

WhisperEncoder WhisperEncoder::load(const Weights& weights, const WhisperConfig& config, DType panels) {
    config.check();
    const WhisperNames names(weights, panels);
    const int64_t d = config.dim;
    WhisperEncoder m;
    m.config_ = config;
    m.conv1_ = PackedConv::pack(
        weights.f32(names.ctranslate2() ? "conv1/weight" : "conv1.weight", {d, config.mels, kTaps}), panels);
    m.conv1_bias_ = weights.f32(names.ctranslate2() ? "conv1/bias" : "conv1.bias", {d});
    m.conv2_ =
        PackedConv::pack(weights.f32(names.ctranslate2() ? "conv2/weight" : "conv2.weight", {d, d, kTaps}), panels);
    m.conv2_bias_ = weights.f32(names.ctranslate2() ? "conv2/bias" : "conv2.bias", {d});
    m.positions_ = names.positions(config.max_source_positions, d);
    for (int64_t i = 0; i < config.encoder_layers; ++i) {
        const WhisperNames n = names.layer(i);
        m.blocks_.push_back(
            {.attention_norm = n.norm("self_attention/layer_norm", "self_attn_layer_norm", d, config.norm_eps),
             .ffn_norm = n.norm("ffn/layer_norm", "final_layer_norm", d, config.norm_eps),
             .qkv = n.fused("self_attention/linear_0", "self_attn", kQueryKeyValue, d),
             .out = n.linear("self_attention/linear_1", "self_attn.out_proj", d, d),
             .ffn = WhisperFeedForward::load(n, d, config.encoder_ffn)});
    }
    m.norm_ = names.norm("layer_norm", "layer_norm", d, config.norm_eps);
    return m;
}

Tensor WhisperEncoder::frame_borders(const Tensor& mel_borders) const {
    return kernels::conv1d_borders(mel_borders, kTaps, kConv2);  // the first convolution keeps the length
}

Tensor WhisperEncoder::forward(const Tensor& mel, const Tensor& mel_borders, const Observer* observer) const {
    if (mel.rank() != 2 || mel.dim(1) != config_.mels)
        throw ShapeError("whisper encoder: mel must be [frames, {}], but is {}", config_.mels, mel.describe());
    const Tensor borders = frame_borders(mel_borders);
    const int64_t* b = borders.data<int64_t>();
    for (int64_t c = 0; c + 1 < borders.numel(); ++c)
        if (const int64_t frames = b[c + 1] - b[c]; frames < 1 || frames > config_.max_source_positions)
            throw ShapeError(
                "whisper encoder: chunk {} has {} frames after the convolutions, but 1 to {} are possible; "
                "cut the clip into chunks of at most 30 s",
                c, frames, config_.max_source_positions);
    Tensor h = conv1d(mel, mel_borders, conv1_, conv1_bias_, kConv1);
    observe(observer, "conv1", h);
    h = gelu(h);
    h = gelu(conv1d(h, mel_borders, conv2_, conv2_bias_, kConv2));
    for (int64_t c = 0; c + 1 < borders.numel(); ++c) {
        Tensor own = h.slice(0, b[c], b[c + 1]);
        kernels::add_(own, positions_.slice(0, 0, b[c + 1] - b[c]));
    }
    observe(observer, "embedded", h);
    for (size_t i = 0; i < blocks_.size(); ++i) {
        h = block(blocks_[i], h, borders);
        if (observer) observe(observer, fmt::format("layer{}", i), h);
    }
    h = norm_(h);
    observe(observer, "encoded", h);
    return h;
}

Tensor WhisperEncoder::block(const Block& b, const Tensor& x, const Tensor& borders) const {
    const int64_t heads = config_.heads, dh = config_.head_dim();
    const Tensor qkv = b.qkv(b.attention_norm(x));
    const auto part = [&](int64_t i) { return whisper_heads(qkv, i * heads, heads, dh); };
    const Tensor mixed =
        wavllm::attention(part(0), part(1), part(2),
                          {borders, borders, AttentionMask::full, whisper_attention_scale(dh), b.qkv.weight.dtype()});
    const Tensor h = x + b.out(mixed);
    return h + b.ffn(b.ffn_norm(h));
}

}  // namespace wavllm
