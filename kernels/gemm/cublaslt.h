#pragma once
// cuBLASLt for plain products on Device::cuda.

#include "kernels/gemm/gemm_body.h"

namespace wavllm::kernels {

/// Makes the product and returns true, or returns false with nothing done: the product is not plain (f32, blocks, an
/// update, few rows), or cuBLASLt does not give the bits of gemm_bf16.cu for it, or this build has none.
bool cublaslt_multiply(const Product& p);

}  // namespace wavllm::kernels
