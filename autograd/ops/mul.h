#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::mul (kernels/mul/mul.h), element by element. Saves a factor only for the other's gradient.
Tensor mul(const Tensor& a, const Tensor& b);

}  // namespace wavllm
