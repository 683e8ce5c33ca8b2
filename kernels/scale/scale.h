#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y = s * x for a number s; x, y: f32 of one shape (s is rounded to f32), or f64. Its own backward: dx = scale(dy, s).
Tensor scale(const Tensor& x, double s);

}  // namespace wavllm::kernels
