#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::embedding (kernels/embedding/embedding.h); only an f32 table can want a gradient.
Tensor embedding(const Tensor& table, const Tensor& ids);

}  // namespace wavllm
