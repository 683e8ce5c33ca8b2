#pragma once
#include "kernels/linear/packed_weight.h"

namespace wavllm {

/// Differentiable y = x w^T + bias (kernels/linear/linear.h). A packed weight is frozen: nothing is saved for it, and x
/// is not kept; only dx = dy w is computed, and only where x wants it.
Tensor linear(const Tensor& x, const PackedWeight& w, const Tensor& bias = {});
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias = {});

}  // namespace wavllm
