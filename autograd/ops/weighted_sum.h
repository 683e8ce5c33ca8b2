#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::weighted_sum (kernels/weighted_sum/weighted_sum.h). A frozen x, or a frozen w, costs
/// nothing.
Tensor weighted_sum(const Tensor& x, const Tensor& w);

}  // namespace wavllm
