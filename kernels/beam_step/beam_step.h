#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

struct BeamStep {
    Tensor parents;  ///< [R, k] i32: rows of the logits
    Tensor tokens;   ///< [R, k] i32
    Tensor scores;   ///< [R, k] f32 (f64), falling
};

/// The k best continuations of each request's beams: the largest of scores[row] + log_softmax(logits[row])[token] over the
/// request's rows and all tokens. Among equal scores the lower row comes first, then the lower token.
/// logits: [N, V] f32 (or f64, and scores too), V <= 2^22, the beams of a request side by side; borders: i64 [R+1], which
/// rows are whose; scores: [N] f32, of the beams so far (-inf: a beam that is over or not there yet). The results are where
/// the logits are, the same on every device (kernels/sample/weights.h). A NaN counts as the largest score, so that it shows.
/// Throws ShapeError for shapes that do not fit, k < 1, or a request with fewer than k continuations.
BeamStep beam_step(const Tensor& logits, const Tensor& scores, const Tensor& borders, int64_t k);

}  // namespace wavllm::kernels
