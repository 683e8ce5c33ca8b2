#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::attention_pool (kernels/attention_pool/attention_pool.h) in x and scores. Saves x only if the
/// scores want a gradient.
Tensor attention_pool(const Tensor& x, const Tensor& scores, const Tensor& borders);

}  // namespace wavllm
