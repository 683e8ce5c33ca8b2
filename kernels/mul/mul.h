#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y = a * b, element by element; a, b, y: f32 of one shape (ShapeError otherwise). It is its own backward:
/// da = mul(dy, b), db = mul(dy, a).
Tensor mul(const Tensor& a, const Tensor& b);

}  // namespace wavllm::kernels
