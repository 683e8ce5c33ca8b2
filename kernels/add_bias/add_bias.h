#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y[t,:] = x[t,:] + bias, what linear does behind its product, for where the two are apart.
/// x, y: [..., N] f32 (or f64); bias: [N]. Backward: dx = dy, dbias as linear_backward_bias (kernels/linear/linear.h) adds it up.
/// Throws ShapeError if bias does not fit.
Tensor add_bias(const Tensor& x, const Tensor& bias);

}  // namespace wavllm::kernels
