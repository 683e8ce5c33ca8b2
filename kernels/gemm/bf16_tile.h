#pragma once
// The innermost part of the bf16 product, in two versions: for AVX-512 BF16 (its own translation unit, compiled for
// that whatever the rest is compiled for), and portable. Both give the same bits.

#include "kernels/gemm/gemm_bf16.h"

namespace wavllm::kernels {

inline constexpr int kBf16TileRows = 14;  ///< 28 accumulators, 2 for a panel's row, 1 for the pair: of 32 registers

/// rows x 32 results: acc[i][n] += left(i, k) * panel(k, n) for `pairs` pairs of k.
struct Bf16Tile {
    Bf16Rows left;
    const bf16* panel;
    int64_t pairs;
    float* c;
    int64_t c_stride;
    int64_t columns;       ///< of the panel's 32, how many there are
    bool from_c;           ///< the chain continues what c holds
    const Epilogue* last;  ///< null, or what happens to the finished chain; its pointers stand at the panel's columns
};

struct Bf16Kernels {
    void (*tile)(int64_t rows, const Bf16Tile& t);
    /// K f32 to pairs, zeros up to a multiple of 32.
    void (*row)(const float* a, int64_t k, bf16* out);
    /// One step of pair-packing: 32 columns of rows k and k + 1 (null: zeros), `columns` of them there.
    void (*row_pair)(const float* even, const float* odd, int64_t columns, bf16* out);
    /// A block of 16 pairs along k x 32 columns to 16 pairs along n x 32 k.
    void (*turn)(const bf16* in, int64_t k_pairs, bf16* out);
};

/// The version for this CPU.
const Bf16Kernels& bf16_kernels();
const Bf16Kernels& portable_bf16_kernels();
/// Null where the compiler's target is not x86. Not to be called on a CPU without the instructions.
const Bf16Kernels* avx512_bf16_kernels();
/// For tests: the portable version (true), or the CPU's own.
void use_portable_bf16(bool portable);

}  // namespace wavllm::kernels
