#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::silu (kernels/silu/silu.h); recomputes from x on the way back.
Tensor silu(const Tensor& x);

}  // namespace wavllm
