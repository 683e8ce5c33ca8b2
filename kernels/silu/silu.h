#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y = x * sigmoid(x), also called swish            Elfwing et al. 2017, eq. 3
/// x, y: f32 of one shape.
Tensor silu(const Tensor& x);
/// dx = dy * s * (1 + x * (1 - s)) with s = sigmoid(x).
/// dy, x, dx: f32 of one shape.
Tensor silu_backward(const Tensor& dy, const Tensor& x);

}  // namespace wavllm::kernels
