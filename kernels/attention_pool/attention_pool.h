#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

struct AttentionPool {
    Tensor y;        ///< [S, C] f32
    Tensor weights;  ///< [T] f32: the softmax of the scores, sequence by sequence
};

/// a = softmax of the scores over the rows of a sequence        y[s,:] = sum over the rows t of s of a[t] x[t,:]
/// The prompt adapter's pooling: "r = sum over M of a * o" with scores w.o + b (paper, eq. 3).
/// x: [T, C] f32; scores: [T, 1] or [T] f32, what a linear layer to one feature gives; borders: i64 [S+1]. Rows are added
/// in order (on a device in an order set by their number), and a sequence's bits depend on its own rows alone: there is no
/// padding that could take part. A sequence without rows gives zeros.
/// Throws ShapeError if x is not of rank 2 or if there is not one score a row.
AttentionPool attention_pool(const Tensor& x, const Tensor& scores, const Tensor& borders);

/// dx[t,:] = a[t] dy[s,:]. dy: [S, C].
Tensor attention_pool_backward_x(const Tensor& dy, const Tensor& weights, const Tensor& borders);
/// dscores[t] = a[t] (g[t] - sum over k of a[k] g[k]) with g[t] = dy[s,:] . x[t,:]; [T].
Tensor attention_pool_backward_scores(const Tensor& dy, const Tensor& x, const Tensor& weights, const Tensor& borders);

}  // namespace wavllm::kernels
