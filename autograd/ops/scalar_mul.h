#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::scalar_mul (kernels/scalar_mul/scalar_mul.h): s * x for a parameter s [1]. Saves x only if s
/// wants a gradient, s only if x does.
Tensor scalar_mul(const Tensor& x, const Tensor& s);

}  // namespace wavllm
