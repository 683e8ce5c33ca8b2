#pragma once
// The innermost part of the product with blocks, for AVX-512 BF16 and portable; both give the same bits.

#include "kernels/gemm/gemm_blocks.h"

namespace wavllm::kernels {

/// rows x 32 results over a whole panel; c stands at the panel's columns.
struct BlockTile {
    Bf16Rows left;
    const void* panel;
    int64_t blocks;  ///< of 32 k
    float* c;
    int64_t c_stride;
    int64_t columns;    ///< of the panel's 32, how many there are
    bool from_c;        ///< the chain continues what c holds
    const float* bias;  ///< null, or of the panel's columns
};

struct BlockKernels {
    /// 1 to kBlockTileRows rows. Null where it would be slower than expand() and the tile of pairs.
    void (*tile)(int64_t rows, const BlockTile& t);
    /// `blocks` blocks to 16 pairs x 32 columns each.
    void (*expand)(const void* panel, int64_t blocks, bf16* out);
};

/// The version of this CPU (use_portable_bf16 counts), for q4_1 or q8_0.
const BlockKernels& block_kernels(DType dtype);
/// Null where the compiler's target is not x86. Not to be called on a CPU without the instructions.
const BlockKernels* avx512_block_kernels(DType dtype);

/// Bytes of 32 columns x 32 k.
constexpr int64_t block_bytes(DType dtype) {
    return dtype == DType::q4_1 ? 32 * 20 : 32 * 34;
}

}  // namespace wavllm::kernels
