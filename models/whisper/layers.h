#pragma once
// The parts that Whisper's encoder and decoder are made of, all frozen.

#include <array>

#include "models/weights.h"

namespace wavllm {

/// y = W x + b.
struct WhisperLinear {
    PackedWeight weight;
    Tensor bias;
    Tensor operator()(const Tensor& x) const;
};

struct WhisperNorm {
    Tensor weight, bias;
    double eps = 1e-5;
    Tensor operator()(const Tensor& x) const;
};

/// The tensors of a checkpoint under either naming. `weights` stands at "encoder" or "decoder": CTranslate2 goes on
/// with "layer_0/self_attention/linear_0/weight", Hugging Face with "layers.0.self_attn.q_proj.weight".
class WhisperNames {
public:
    WhisperNames(const Weights& weights, DType panels);

    bool ctranslate2() const {
        return ctranslate2_;
    }
    WhisperNames layer(int64_t i) const;
    WhisperNorm norm(const char* ct2, const char* hf, int64_t dim, double eps) const;
    WhisperLinear linear(const char* ct2, const char* hf, int64_t out, int64_t in) const;
    /// Several projections of one input as one product, rows in order. CTranslate2 stores them so; Hugging Face has
    /// hf + "q_proj" and so on, of which "k_proj" has no bias.
    WhisperLinear fused(const char* ct2, const char* hf, std::span<const char* const> parts, int64_t dim) const;
    Tensor positions(int64_t count, int64_t dim) const;
    /// A tensor that both namings call the same.
    const Weights& weights() const {
        return weights_;
    }
    DType panels() const {
        return panels_;
    }

private:
    WhisperNames(const Weights& weights, DType panels, bool ctranslate2)
        : weights_(weights), panels_(panels), ctranslate2_(ctranslate2) {}
    Weights weights_;
    DType panels_;
    bool ctranslate2_;
};

inline constexpr std::array<const char*, 3> kQueryKeyValue = {"q_proj", "k_proj", "v_proj"};
inline constexpr std::array<const char*, 2> kKeyValue = {"k_proj", "v_proj"};

/// gelu(x W1 + b1) W2 + b2.
struct WhisperFeedForward {
    WhisperLinear up, down;
    Tensor operator()(const Tensor& x) const;
    static WhisperFeedForward load(const WhisperNames& names, int64_t dim, int64_t ffn);
};

/// Heads [first, first + heads) of a fused projection [T, n * heads * head_dim], a view [T, heads, head_dim].
Tensor whisper_heads(const Tensor& fused, int64_t first, int64_t heads, int64_t head_dim);
/// 1 / sqrt(head_dim).
double whisper_attention_scale(int64_t head_dim);

}  // namespace wavllm
