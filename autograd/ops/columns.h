#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable column movers (kernels/columns/columns.h). They save nothing.
Tensor slice_columns(const Tensor& x, int64_t begin, int64_t end);
Tensor concat_columns(const Tensor& a, const Tensor& b);

}  // namespace wavllm
