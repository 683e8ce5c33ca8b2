#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::silu_mul (kernels/silu_mul/silu_mul.h); saves only gate_up. Fusion "silu_mul".
Tensor silu_mul(const Tensor& gate_up);

}  // namespace wavllm
