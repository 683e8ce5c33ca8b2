#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::gelu (kernels/gelu/gelu.h); recomputes from x on the way back.
Tensor gelu(const Tensor& x);

}  // namespace wavllm
