#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::layer_norm (kernels/layer_norm/layer_norm.h). Frozen w and b cost nothing; dx needs x and w.
Tensor layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps);

}  // namespace wavllm
