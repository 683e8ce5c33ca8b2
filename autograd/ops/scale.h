#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::scale (kernels/scale/scale.h). Saves nothing.
Tensor scale(const Tensor& x, double s);

}  // namespace wavllm
