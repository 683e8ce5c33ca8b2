#pragma once
// Attention with its products in bf16 (AttentionLayout::products): scale * q, k, v, the probabilities, dy and ds are
// rounded to bf16 as factors; scores, softmax and sums are f32. The contracts are those of attention() and
// attention_backward(), which check the arguments.

#include "kernels/attention/attention.h"
#include "kernels/attention/tile.h"

namespace wavllm::kernels {

AttentionForward attention_bf16(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout,
                                const detail::AttentionSizes& sizes);

/// One head of one sequence. Pointers stand at the sequence's first row and the head's first column.
struct AttentionBackwardItem {
    int64_t sequence;
    float scale;
    attention_tile::HeadRows q, k, v, dy, y;
    const float* log_sum_exp;  ///< rows `heads` apart
    float *dq, *dk, *dv;       ///< rows heads * Dh apart; null: not wanted (dk and dv come together)
};
void attention_backward_bf16(const AttentionBackwardItem& item, const detail::AttentionSizes& sizes);

}  // namespace wavllm::kernels
