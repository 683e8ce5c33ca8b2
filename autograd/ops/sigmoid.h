#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::sigmoid (kernels/sigmoid/sigmoid.h); recomputes from x on the way back.
Tensor sigmoid(const Tensor& x);

}  // namespace wavllm
