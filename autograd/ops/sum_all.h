#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::sum_all (kernels/sum_all/sum_all.h): a scalar [1]. Saves only the shape.
Tensor sum_all(const Tensor& x);

}  // namespace wavllm
