#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable residual add (kernels/add/add.h): a layer reads `x + attention(...)`.
Tensor operator+(const Tensor& a, const Tensor& b);

}  // namespace wavllm
