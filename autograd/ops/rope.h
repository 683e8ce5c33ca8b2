#pragma once
#include "kernels/rope/rope.h"
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::rope (kernels/rope/rope.h); the gradient is the inverse rotation and saves nothing of x.
Tensor rope(const Tensor& x, const Tensor& positions, const RopeTable& table, RopeLayout layout);

}  // namespace wavllm
