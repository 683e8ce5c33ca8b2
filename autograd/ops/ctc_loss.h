#pragma once
#include "tensor/tensor.h"

namespace wavllm {

struct CtcLoss {
    Tensor loss;             ///< [1]: sum of the sequences' losses / normalizer
    Tensor sequence_losses;  ///< [S], for reports; not differentiable
    int64_t infeasible = 0;  ///< sequences with too few rows for their target: 0 in loss and gradient
};

/// Differentiable kernels::ctc_loss (kernels/ctc_loss/ctc_loss.h): -log p(target | rows) by token_logits [T, C] and
/// blank_logits [T, 1]. The gradient is made with the loss, one tensor of the size of token_logits, if either input
/// wants one; backward hands it on. normalizer: of the whole (accumulated) batch, say its target tokens; UsageError
/// unless above 0 (a batch of empty targets has none).
CtcLoss ctc_loss(const Tensor& token_logits, const Tensor& blank_logits, const Tensor& borders, const Tensor& targets,
                 const Tensor& target_borders, double normalizer);

}  // namespace wavllm
