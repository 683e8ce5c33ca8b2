// The product on the tensor cores with a frozen weight that stays in 4- or 8-bit blocks (block_tiles.cuh).

#include "kernels/gemm/gemm_bf16.cuh"
#include "kernels/gemm/gemm_blocks_body.h"

namespace wavllm::kernels {

namespace {

template <DType B>
void run(const Product& p) {
    p.b.across ? sized_tensor_tile<false, true, B>(p) : sized_tensor_tile<false, false, B>(p);
}

void gemm_blocks(const Product& p) {
    p.b.dtype == DType::q4_1 ? run<DType::q4_1>(p) : run<DType::q8_0>(p);
}

WAVLLM_CUDA_BODY(gemm_blocks_body, gemm_blocks);

}  // namespace

}  // namespace wavllm::kernels
