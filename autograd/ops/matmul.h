#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::matmul (kernels/matmul/matmul.h).
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_b = false);

}  // namespace wavllm
