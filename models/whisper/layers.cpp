#include "models/whisper/layers.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/gelu.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/ops/linear.h"
#include "tensor/model_dtype.h"

namespace wavllm {

Tensor WhisperLinear::operator()(const Tensor& x) const {
    return linear(x, weight, bias);
}

Tensor WhisperNorm::operator()(const Tensor& x) const {
    return layer_norm(x, weight, bias, eps);
}

Tensor WhisperFeedForward::operator()(const Tensor& x) const {
    return down(gelu(up(x)));
}

WhisperNames::WhisperNames(const Weights& weights, DType panels)
    : weights_(weights), panels_(panels), ctranslate2_(weights.has("layer_norm/gamma")) {}

WhisperNames WhisperNames::layer(int64_t i) const {
    return {weights_.under(fmt::format(fmt::runtime(ctranslate2_ ? "layer_{}/" : "layers.{}."), i)), panels_,
            ctranslate2_};
}

WhisperNorm WhisperNames::norm(const char* ct2, const char* hf, int64_t dim, double eps) const {
    const Weights w = weights_.under(ctranslate2_ ? fmt::format("{}/", ct2) : fmt::format("{}.", hf));
    return {w.f32(ctranslate2_ ? "gamma" : "weight", {dim}), w.f32(ctranslate2_ ? "beta" : "bias", {dim}), eps};
}

WhisperLinear WhisperNames::linear(const char* ct2, const char* hf, int64_t out, int64_t in) const {
    const Weights w = weights_.under(ctranslate2_ ? fmt::format("{}/", ct2) : fmt::format("{}.", hf));
    return {w.packed("weight", out, in, panels_), w.f32("bias", {out})};
}

WhisperLinear WhisperNames::fused(const char* ct2, const char* hf, std::span<const char* const> parts,
                                  int64_t dim) const {
    const int64_t n = static_cast<int64_t>(parts.size());
    if (ctranslate2_) return linear(ct2, hf, n * dim, dim);
    const Weights w = weights_.under(fmt::format("{}.", hf));
    const auto name = [&](size_t i) { return fmt::format("{}.weight", parts[i]); };
    WhisperLinear result;
    result.weight = n == 2 ? w.packed({name(0), name(1)}, n * dim, dim, panels_)
                           : w.packed({name(0), name(1), name(2)}, n * dim, dim, panels_);
    PurposeScope scope(Purpose::weights);
    result.bias = Tensor::zeros({n * dim}, model_dtype(), model_device());
    for (int64_t i = 0; i < n; ++i) {
        const std::string_view part = parts[static_cast<size_t>(i)];
        if (part == "k_proj") continue;  // softmax does not see a bias of the keys, so Whisper has none
        const Tensor bias = w.f32(fmt::format("{}.bias", part), {dim});
        result.bias.slice(0, i * dim, (i + 1) * dim).assign(bias);
    }
    return result;
}

Tensor WhisperNames::positions(int64_t count, int64_t dim) const {
    return weights_.f32(ctranslate2_ ? "position_encodings/encodings" : "embed_positions.weight", {count, dim});
}

WhisperFeedForward WhisperFeedForward::load(const WhisperNames& names, int64_t dim, int64_t ffn) {
    return {names.linear("ffn/linear_0", "fc1", ffn, dim), names.linear("ffn/linear_1", "fc2", dim, ffn)};
}

Tensor whisper_heads(const Tensor& fused, int64_t first, int64_t heads, int64_t head_dim) {
    return fused.reshape({fused.dim(0), fused.dim(1) / head_dim, head_dim}).slice(1, first, first + heads);
}

double whisper_attention_scale(int64_t head_dim) {
    return 1 / std::sqrt(static_cast<double>(head_dim));
}

}  // namespace wavllm
