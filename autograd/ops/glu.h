#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::glu (kernels/glu/glu.h); saves only x. Fusion "glu".
Tensor glu(const Tensor& x);

}  // namespace wavllm
