#pragma once
// The cheap decoder of a CTC head: best path, B(argmax of each row) (Graves et al. 2006, section 3.2).

#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace wavllm {

struct CtcPath {
    std::vector<int32_t> tokens;
    std::vector<int64_t> rows;  ///< row of the clip, from 0, in which each token begins: the alignment
    std::vector<int64_t> ends;  ///< one past the last row of that run
};

/// For each clip: the largest of each row's tokens and blank, runs of one token collapsed, blanks removed. token_logits:
/// [T, C] f32; blank_logits: [T, 1] f32; borders: i64 [S+1], rows of each clip; a clip without rows gives no tokens. Of
/// equal logits the blank wins, then the lowest token. class_tokens: the token of each of the C classes; empty: class c
/// is token c. Throws Error naming clip and row for a NaN, ShapeError if sizes do not fit.
std::vector<CtcPath> ctc_greedy(const Tensor& token_logits, const Tensor& blank_logits, const Tensor& borders,
                                std::span<const int32_t> class_tokens = {});

/// The same from the likeliest token of each row of one clip; `blank` is no token's id.
CtcPath ctc_collapse(std::span<const int32_t> path, int32_t blank);

}  // namespace wavllm
