#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y = x in row-major order: what Tensor::to_contiguous() does with a strided view, here as an op with a CUDA body. x: any
/// plain dtype, any strides; always a copy. Throws DTypeError for block formats.
Tensor contiguous(const Tensor& x);

}  // namespace wavllm::kernels
