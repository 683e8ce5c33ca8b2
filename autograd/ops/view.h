#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable Tensor::reshape: the same memory under another shape.
Tensor reshape(const Tensor& x, const Shape& shape);

}  // namespace wavllm
