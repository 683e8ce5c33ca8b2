#pragma once
#include "kernels/linear/packed_weight.h"

namespace wavllm {

struct CrossEntropy {
    Tensor loss;        ///< [1]: sum of the rows' losses / normalizer
    Tensor row_losses;  ///< [N], for reports; not differentiable
};

/// Cross-entropy of a frozen LM head on target rows only (kernels/cross_entropy/cross_entropy.h); fused: the logits
/// never stand whole in memory. Composition: linear, cross_entropy_logits, weighted by 1/normalizer. x: [N, D];
/// targets: [N] i32; normalizer: the number of target tokens of the whole (accumulated) batch.
CrossEntropy cross_entropy(const Tensor& x, const PackedWeight& head, const Tensor& targets, double normalizer);
/// The same with a trainable head [V, D].
CrossEntropy cross_entropy(const Tensor& x, const Tensor& head, const Tensor& targets, double normalizer);

}  // namespace wavllm
