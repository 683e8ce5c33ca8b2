#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::rms_norm (kernels/rms_norm/rms_norm.h). A frozen w costs nothing; dx needs x and w.
Tensor rms_norm(const Tensor& x, const Tensor& w, double eps);

}  // namespace wavllm
