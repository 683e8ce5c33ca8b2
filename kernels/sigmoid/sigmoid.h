#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y = 1 / (1 + e^-x), the logistic function
/// x, y: f32 of one shape.
Tensor sigmoid(const Tensor& x);
/// dx = dy * s * (1 - s) with s = sigmoid(x).
/// dy, x, dx: f32 of one shape.
Tensor sigmoid_backward(const Tensor& dy, const Tensor& x);

}  // namespace wavllm::kernels
