#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::softmax over the last dimension (kernels/softmax/softmax.h). Saves its result.
Tensor softmax(const Tensor& x);

}  // namespace wavllm
