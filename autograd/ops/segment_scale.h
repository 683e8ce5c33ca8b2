#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::segment_scale (kernels/segment_scale/segment_scale.h).
Tensor segment_scale(const Tensor& x, const Tensor& r, const Tensor& borders);

}  // namespace wavllm
