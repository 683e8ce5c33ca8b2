#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::clamp (kernels/clamp/clamp.h); saves x.
Tensor clamp(const Tensor& x, double low, double high);

}  // namespace wavllm
