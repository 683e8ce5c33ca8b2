#pragma once
// Whisper's decoder (Radford et al. 2022), for inference: learned positions, pre-norm blocks of causal self-attention,
// attention to the encoder's frames and a feed-forward, output tied to the token embedding.

#include <span>

#include "models/observer.h"
#include "models/whisper/cache.h"
#include "models/whisper/layers.h"

namespace wavllm {

class WhisperDecoder {
public:
    /// weights stands at the decoder: under("decoder/") or under("model.decoder.").
    static WhisperDecoder load(const Weights& weights, const WhisperConfig& config, DType panels = DType::f32);

    const WhisperConfig& config() const {
        return config_;
    }
    /// Puts a chunk into a slot: encoded [frames, dim], the encoder's result. The slot's tokens are forgotten.
    void listen(WhisperCache& cache, int64_t slot, const Tensor& encoded) const;
    /// First tokens of each of these slots, which hold none yet. ids: i32 [N], slots' tokens end to end with borders
    /// i64 [slots.size() + 1]; result: hidden states [N, dim] after the final norm.
    /// Observed here and in step(): "embedded" (the blocks' input), "layer0", ..., "decoded".
    Tensor prefill(WhisperCache& cache, std::span<const int64_t> slots, const Tensor& ids, const Tensor& borders,
                   const Observer* observer = nullptr) const;
    /// One more token of each of these slots: ids i32 [slots.size()], result [slots.size(), dim]. A slot's bits do not
    /// depend on which others are decoded with it.
    Tensor step(WhisperCache& cache, std::span<const int64_t> slots, const Tensor& ids,
                const Observer* observer = nullptr) const;
    /// Logits [N, vocab] of hidden states.
    Tensor logits(const Tensor& hidden) const;

private:
    struct Block {
        WhisperNorm self_norm, cross_norm, ffn_norm;
        WhisperLinear self_qkv, self_out;
        WhisperLinear cross_q, cross_kv, cross_out;
        WhisperFeedForward ffn;
    };
    struct Pass;
    Tensor run(Pass& pass, const Tensor& ids, const Observer* observer) const;
    Tensor self_attention(Pass& pass, size_t layer, const Tensor& x) const;
    Tensor cross_attention(Pass& pass, size_t layer, const Tensor& x) const;

    WhisperConfig config_;
    Tensor embedding_, positions_;
    std::vector<Block> blocks_;
    WhisperNorm norm_;
    PackedWeight head_;
};

}  // namespace wavllm
