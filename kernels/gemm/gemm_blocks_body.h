#pragma once
// gemm_bf16_body for a right factor in blocks: a file of its own only because of the time it takes to compile.

#include "kernels/gemm/gemm_body.h"

namespace wavllm::kernels {

inline CudaBody<void(const Product&)> gemm_blocks_body{"gemm with a weight in blocks"};

}  // namespace wavllm::kernels
