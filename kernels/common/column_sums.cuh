#pragma once
// Sums over the rows of a matrix, for the gradients of weights and biases: one chain of additions a column, row after row as
// on the CPU. A batch that comes in pieces then gives the bits of the whole.

#include "kernels/simt/cuda.h"

namespace wavllm::kernels {

/// What a row adds to a column's sum: fma(left, right, sum).
struct RowTerm {
    float left, right;
};

/// A block has 32 columns of a segment. Its eight warps bring 64 rows; the first adds them up one by one while the others
/// bring the next: what takes the time is memory, not an addition a row.
template <class Term>
static __global__ void __launch_bounds__(256)
    column_sums_kernel(Term term, const int64_t* borders, int64_t rows, int64_t n, unsigned tiles, float* sums) {
    constexpr int kRows = 64;
    WAVLLM_SHARED(float, left, [2][kRows][32]);
    WAVLLM_SHARED(float, right, [2][kRows][32]);
    const int64_t segment = blockIdx.x / tiles, column = blockIdx.x % tiles * int64_t{32} + threadIdx.x;
    const int64_t begin = borders != nullptr ? borders[segment] : 0,
                  end = borders != nullptr ? borders[segment + 1] : rows;
    const bool there = column < n;
    float sum = threadIdx.y == 0 && there ? sums[segment * n + column] : 0.0f;
    int now = 0;
    for (int64_t row0 = begin; row0 < end; row0 += kRows, now ^= 1) {
#pragma unroll
        for (int i = 0; i < kRows / 8; ++i) {
            const int at = i * 8 + static_cast<int>(threadIdx.y);
            const RowTerm t = there && row0 + at < end ? term(row0 + at, column) : RowTerm{0.0f, 0.0f};
            left[now][at][threadIdx.x] = t.left;
            right[now][at][threadIdx.x] = t.right;
        }
        __syncthreads();  // the other half is free: the first warp came here only after it was through with it
        const int count = static_cast<int>(end - row0 < kRows ? end - row0 : kRows);
        if (threadIdx.y == 0)
            for (int i = 0; i < count; ++i) sum = fmaf(left[now][i][threadIdx.x], right[now][i][threadIdx.x], sum);
    }
    if (threadIdx.y == 0 && there) sums[segment * n + column] = sum;
}

/// sums[s][column] += the terms of the rows between borders s and s + 1 (null: of all rows, one segment), in order, where
/// term(row, column) gives one.
template <class Term>
static void add_column_sums(const char* name, const Term& term, const int64_t* borders, int64_t segments, int64_t rows,
                            int64_t n, float* sums) {
    if (rows == 0 || n == 0 || segments == 0) return;
    const int64_t tiles = (n + 31) / 32;
    launch(column_sums_kernel<Term>,
           {.grid = dim3(static_cast<unsigned>(tiles * segments)), .block = dim3(32, 8), .name = name}, term, borders,
           rows, n, static_cast<unsigned>(tiles), sums);
}

}  // namespace wavllm::kernels
