#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::add_bias (kernels/add_bias/add_bias.h). Saves nothing.
Tensor add_bias(const Tensor& x, const Tensor& bias);

}  // namespace wavllm
