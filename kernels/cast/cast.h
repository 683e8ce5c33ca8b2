#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// x converted to `dtype`, same shape: f32 to bf16 or f16 (to nearest, ties to even, NaN stays NaN), or either of them
/// to f32. Not differentiable: 16-bit tensors are frozen. Throws DTypeError for any other pair.
Tensor cast(const Tensor& x, DType dtype);

}  // namespace wavllm::kernels
