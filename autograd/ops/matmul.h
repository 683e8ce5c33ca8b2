#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::matmul (kernels/matmul/matmul.h).
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_b = false, DType products = DType::f32);

}  // namespace wavllm
