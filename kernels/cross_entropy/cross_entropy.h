#pragma once
#include "kernels/linear/packed_weight.h"

namespace wavllm::kernels {

struct RowLosses {
    Tensor losses;  ///< [N] f32: negative log-likelihood of each row's target
    Tensor dx;      ///< [N, D] f32: scale * d(sum of losses)/dx; undefined unless asked for
};

/// losses[i] = log(sum over v of exp(z[i,v])) - z[i, targets[i]],   z = x head^T
/// x: [N, D] f32, the hidden states at target positions only; head: [V, D] frozen; targets: [N] i32 in [0, V).
/// The logits of 56 rows (on a device 256) exist at a time, never all; the gradient is made from them while they are
/// there, so that the backward pass multiplies by the head once and never again. A row's result depends on that row alone.
/// x, head and the results are on one device, targets on the CPU. Throws Error naming the row and the id if a target is
/// outside the vocabulary.
RowLosses cross_entropy(const Tensor& x, const PackedWeight& head, const Tensor& targets, double scale, bool want_dx);

/// The same from logits [N, V] that exist.
Tensor cross_entropy_logits(const Tensor& logits, const Tensor& targets);
/// dlogits = (softmax(logits) - onehot(target)) * dlosses[row].
Tensor cross_entropy_logits_backward(const Tensor& logits, const Tensor& targets, const Tensor& dlosses);

}  // namespace wavllm::kernels
