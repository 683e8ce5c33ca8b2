#pragma once
// The bf16 product with a frozen weight that stays in the blocks of its file: 4-bit q4_1 (x = d q + m) or 8-bit q8_0
// (x = d q), 32 weights along k to a block. What is multiplied are the very bf16 values that panels in pairs
// (gemm_bf16.h) would hold, in the same order, so this is a choice of storage alone: a third of the memory, and for one
// row, where reading the weight is all the time there is, up to three times the speed.
//
// Layout: panels of 32 columns, for each of them the blocks along k one behind the other. A block of 32 columns x 32 k:
//   d[32] f16, for q4_1 m[32] f16, then for each 16 columns and each group of pairs of k (8 pairs in q4_1, 4 in q8_0)
//   two vectors of 16 words of 32 bits. Lane j of vector v belongs to column 8 v + j / 2, to the odd k of a pair if j
//   is even, and to the even k if it is odd: two such vectors, rounded to bf16, are 16 pairs. A word holds the column's
//   q of all pairs of the group (in q8_0 with 128 added), pair t rotated up by t times their bits from the top of an
//   f32's mantissa. So a rotation by bytes, a mask with the exponent of 1 and one fma make the weight: where q stands at
//   the top, f = 1 + q / 2^bits and d q + m = (2^bits d) f + (m - 2^bits d); every second q of q4_1 stands 4 bits lower,
//   and 2^bits is 256 for it.
// The bytes are as many as in the file: 20 or 34 for 32 weights.

#include <span>

#include "kernels/gemm/gemm_bf16.h"

namespace wavllm::kernels {

/// Whether panels of this dtype are blocks.
constexpr bool in_blocks(DType dtype) {
    return dtype == DType::q4_1 || dtype == DType::q8_0;
}

/// Whether every weight of these blocks comes out as dequantize() has it by the way above: finite d and m, no weight of -0, and both
/// m - 16 d and m - 256 d exact in f32. Those of real files do; others are to be packed as bf16.
bool fits_block_panels(DType dtype, const void* blocks, int64_t k, int64_t n);
/// Packs a weight [N, K] stored in blocks into panels of the same dtype: panel_elements(k, n, dtype) elements.
Panels pack_block_panels(DType dtype, const void* blocks, int64_t k, int64_t n, void* panels);

/// C = A B, as gemm_bf16() for B in blocks. Throws Error for add_scaled, which no frozen weight needs.
void gemm_blocks(int64_t m, Bf16Rows a, const Panels& b, float* c, int64_t c_stride, const Epilogue& epilogue = {},
                 const Bf16Update* update = nullptr);

inline constexpr int kBlockTileRows = 4;  ///< rows multiplied while a weight is in registers; more read it as pairs

struct BlockProduct {
    Panels b;
    float* c;
    int64_t c_stride;
    bool accumulate = false;
    const float* bias = nullptr;
};

/// Several products of the same few rows, whose work the threads share as if it were one. Returns false, with nothing
/// done, where one by one is the way: more rows, or a weight that is not in blocks, or a CPU without AVX-512 BF16.
bool gemm_blocks_together(int64_t m, Bf16Rows a, std::span<const BlockProduct> products);

/// Part of one panel as pairs: `blocks` blocks of 32 k from block `first` of panel `panel` on, 1024 elements each.
void expand_blocks(const Panels& b, int64_t panel, int64_t first, int64_t blocks, bf16* out);

}  // namespace wavllm::kernels
