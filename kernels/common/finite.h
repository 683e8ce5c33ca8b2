#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// True if no element of an f32 tensor is infinite or NaN.
bool all_finite(const Tensor& t);

}  // namespace wavllm::kernels
