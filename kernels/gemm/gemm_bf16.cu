// The product on the tensor cores of factors that are bf16 in memory; gemm_blocks.cu has frozen weights in blocks.

#include "kernels/gemm/gemm_bf16.cuh"
#include "kernels/gemm/gemm_blocks_body.h"

namespace wavllm::kernels {

namespace {

void gemm_bf16(const Product& p) {
    if (p.b.dtype != DType::bf16) return gemm_blocks_body(WAVLLM_THIS_BUILD)(p);
    if (p.a.across) return sized_tensor_tile<true, true, DType::bf16>(p);
    return p.b.across ? sized_tensor_tile<false, true, DType::bf16>(p)
                      : sized_tensor_tile<false, false, DType::bf16>(p);
}

WAVLLM_CUDA_BODY(gemm_bf16_body, gemm_bf16);

}  // namespace

}  // namespace wavllm::kernels
