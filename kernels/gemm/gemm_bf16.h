#pragma once
// The product in bf16: both factors rounded to bf16 (to nearest, ties to even), products and sums in f32. CPUs with
// AVX-512 BF16 multiply pairs of bf16 in one instruction, four times as many a cycle as f32; it is asked for at run
// time. Elsewhere the same panels are widened and multiplied in f32.
//
// The chain of an element is the one of gemm.h: acc = fma(a[k], b[k], acc) for k = 0, 1, ..., K-1, each step rounded to
// f32 (a product of two bf16 is exact in f32). vdpbf16ps adds the upper halves of a pair first, then the lower ones
// (Intel's manual, volume 2, VDPBF16PS), so the even k stands in the upper half. Hence the result is, to the bit, what
// the f32 product gives for the rounded factors, and a chain may be cut anywhere and continued. Two exceptions:
// the instruction takes denormal inputs for zero (packing makes them zero, on every CPU) and flushes denormal sums.
//
// Layout of panels in pairs: element (k, n) stands at [n / 32][k / 2][n % 32][1 - k % 2]; zero for an odd K's last k + 1
// and for columns beyond N. Rows of the left factor: element k at [k ^ 1], zeros up to a multiple of 32.

#include "kernels/gemm/gemm.h"

namespace wavllm::kernels {

/// Whether this CPU multiplies bf16 (AVX-512 BF16).
bool bf16_products();

/// Rows of a left factor in pairs. Row m starts at data + m * stride.
struct Bf16Rows {
    const bf16* data;
    int64_t stride;

    Bf16Rows from(int64_t row) const {
        return {data + row * stride, stride};
    }
};

/// Distance of two packed rows of K elements: K up to a multiple of 32, and such that the rows of a tile do not fall
/// into the same few cache sets.
int64_t bf16_stride(int64_t k);
/// Memory for m packed rows of K elements, booked to workspace.
Tensor bf16_workspace(int64_t m, int64_t k);
/// Rounds and packs A [M, K], a row of it at a + m * a_stride, into memory of bf16_workspace.
Bf16Rows pack_bf16_rows(int64_t m, const float* a, int64_t a_stride, int64_t k, Tensor& memory);
/// One row, without the thread pool, zeros up to a multiple of 32. `out` may be the memory of `a`.
void pack_bf16_row(const float* a, int64_t k, bf16* out);
/// Panels in pairs of B[k][n] = source[k * stride + n], and of B[k][n] = source[n * stride + k].
Panels pack_bf16_columns(const float* source, int64_t stride, int64_t k, int64_t n, Tensor& memory);
Panels pack_bf16_transposed(const float* source, int64_t stride, int64_t k, int64_t n, Tensor& memory);
/// One panel of B[k][n] = source[n * stride + k] for n < columns.
void pack_bf16_panel(const float* source, int64_t stride, int64_t k, int64_t columns, bf16* panel);
/// Memory for the panels in pairs of a [K, N] matrix, booked to workspace.
Tensor bf16_panel_workspace(int64_t k, int64_t n);

/// A second product for the same result: c += scale * (rows B), one fma an element after the first chain is complete.
struct Bf16Update {
    Bf16Rows rows;
    Panels b;
    float scale;
};

/// C = A B, as gemm() for panels in pairs or in blocks, with the left factor already packed.
void gemm_bf16(int64_t m, Bf16Rows a, const Panels& b, float* c, int64_t c_stride, const Epilogue& epilogue = {},
               const Bf16Update* update = nullptr);
/// C = A B^T, as gemm_transposed(). The panels of B are turned into pairs along n, a slice that fits in L2 at a time.
void gemm_transposed_bf16(int64_t m, Bf16Rows a, const Panels& b, float* c, int64_t c_stride, bool accumulate = false,
                          const Bf16Update* update = nullptr);
/// sum [K, N] += left^T right for left [T, K], right [T, N] (f32, dense), K small: chains over the rows, in order.
void add_transposed_product_bf16(int64_t rows, const float* left, int64_t k, const float* right, int64_t n, float* sum);

}  // namespace wavllm::kernels
