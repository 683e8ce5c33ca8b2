#pragma once
// What the LLM looks at while it answers: for reports, outside of every hot path.

#include <utility>

#include "models/wavllm/example.h"

namespace wavllm {

struct AttentionMap {
    int64_t layers = 0, heads = 0, tokens = 0, frames = 0;
    /// [layers, heads, tokens, frames]: the share of its attention that the row which predicts a token pays to a row of
    /// speech. The shares of a row add up to less than 1: the rest goes to the text.
    std::vector<float> weights;

    const float* map(int64_t layer, int64_t head) const {
        return weights.data() + (layer * heads + head) * tokens * frames;
    }
    /// Mean over the heads of a layer, [tokens, frames].
    std::vector<float> layer_mean(int64_t layer) const;
    /// Mean over the `count` heads of all layers whose strongest frame of a token is strongest (mean over the tokens):
    /// those that align text and speech, if any do.
    std::vector<float> sharpest_mean(int64_t count) const;
};

/// Attention of the answer's tokens (at least one) in a pass over prompt, speech and answer, LoRA on, dropout off.
AttentionMap attention_map(const Wavllm& model, const SpeechExample& example, std::span<const int32_t> answer);

/// Where the CTC head says the answer's tokens: (index in the answer, row of speech) of a longest common subsequence of
/// both, in order. ctc_rows: where each of ctc_tokens begins.
std::vector<std::pair<int64_t, int64_t>> align_to_ctc(std::span<const int32_t> answer,
                                                      std::span<const int32_t> ctc_tokens,
                                                      std::span<const int64_t> ctc_rows);

}  // namespace wavllm
