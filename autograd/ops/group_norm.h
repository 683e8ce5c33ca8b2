#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::group_norm (kernels/group_norm/group_norm.h); borders: of the sequences in x, not
/// differentiable. Saves x, w and two numbers per sequence and channel; frozen all, it saves nothing.
Tensor group_norm(const Tensor& x, const Tensor& borders, const Tensor& w, const Tensor& b, int64_t groups, double eps);

}  // namespace wavllm
