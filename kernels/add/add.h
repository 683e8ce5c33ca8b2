#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y = a + b, element by element; a, b, y: f32 of one shape. The residual add.
Tensor add(const Tensor& a, const Tensor& b);
/// a += b in place.
void add_(Tensor& a, const Tensor& b);

}  // namespace wavllm::kernels
