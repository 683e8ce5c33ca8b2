#pragma once
// Sums over the rows of a matrix, for the gradients of weights and biases. Two stages, no atomics: blocks add up chunks of
// 64 rows into workspace, then the chunks are added up. The order is set by the number of rows alone.

#include "kernels/common/column_sums.h"
#include "kernels/simt/cuda.h"

namespace wavllm::kernels {

/// The sum over the eight warps of a block of 32 x 8 threads, for each of its 32 columns; for the first warp.
static __device__ __forceinline__ float sum_of_warps(float v, float (*partial)[32]) {
    partial[threadIdx.y][threadIdx.x] = v;
    __syncthreads();
    if (threadIdx.y == 0)
        for (int i = 1; i < 8; ++i) v += partial[i][threadIdx.x];
    return v;
}

template <class Term>
static __global__ void __launch_bounds__(256)
    column_chunks_kernel(Term term, float* chunks, int64_t rows, int64_t columns, unsigned column_blocks) {
    WAVLLM_SHARED(float, partial, [8][32]);
    const int64_t column = blockIdx.x % column_blocks * int64_t{32} + threadIdx.x, chunk = blockIdx.x / column_blocks;
    const int64_t end = min(rows, (chunk + 1) * kColumnChunk);
    float sum = 0;
    if (column < columns)
        for (int64_t row = chunk * kColumnChunk + threadIdx.y; row < end; row += 8) sum = term.add(sum, row, column);
    sum = sum_of_warps(sum, partial);
    if (threadIdx.y == 0 && column < columns) chunks[chunk * columns + column] = sum;
}

static __global__ void __launch_bounds__(256)
    add_chunks_kernel(const float* chunks, float* sums, int64_t count, int64_t columns) {
    WAVLLM_SHARED(float, partial, [8][32]);
    const int64_t column = blockIdx.x * int64_t{32} + threadIdx.x;
    float sum = 0;
    if (column < columns)
        for (int64_t chunk = threadIdx.y; chunk < count; chunk += 8) sum += chunks[chunk * columns + column];
    sum = sum_of_warps(sum, partial);
    if (threadIdx.y == 0 && column < columns) sums[column] += sum;
}

/// sums[column] += the sum over the rows, where term.add(sum, row, column) gives sum plus the term of that row.
/// chunks: workspace of column_chunks(rows) x columns floats.
template <class Term>
static void add_column_sums(const char* name, const Term& term, float* chunks, float* sums, int64_t rows,
                            int64_t columns) {
    if (rows == 0 || columns == 0) return;
    const auto column_blocks = static_cast<unsigned>((columns + 31) / 32);
    const int64_t count = column_chunks(rows);
    launch(column_chunks_kernel<Term>,
           {.grid = dim3(static_cast<unsigned>(count) * column_blocks), .block = dim3(32, 8), .name = name}, term,
           chunks, rows, columns, column_blocks);
    launch(add_chunks_kernel, {.grid = dim3(column_blocks), .block = dim3(32, 8), .name = name}, chunks, sums, count,
           columns);
}

}  // namespace wavllm::kernels
