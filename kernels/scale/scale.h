#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y = s * x for a number s; x, y: f32 of one shape. Its own backward: dx = scale(dy, s).
Tensor scale(const Tensor& x, float s);

}  // namespace wavllm::kernels
