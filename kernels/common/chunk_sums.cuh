#pragma once
// Sums over all elements of arrays. Two stages, no atomics: each block adds up a chunk of 4096 elements, then one block
// adds up the chunks. Sixteen terms of a thread are added as the op says (f32 or double), all after that in double. The
// order is set by the number of elements alone.

#include "kernels/common/chunk_sums.h"
#include "kernels/common/elementwise.cuh"

namespace wavllm::kernels {

constexpr int kSumThreads = 256;

/// The sum over a block of 256 threads, for thread 0. partial: shared, 8 doubles, free again after the next barrier.
static __device__ __forceinline__ double block_sum_of_doubles(double v, double* partial) {
    for (int distance = 16; distance > 0; distance /= 2) v += __shfl_xor_sync(0xffffffffu, v, distance);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0)
        for (int i = 1; i < kSumThreads / 32; ++i) v += partial[i];
    return v;
}

/// partial[y * chunks + x] of block (x, y): chunk x of array y.
template <int V, class Term>
static __global__ void __launch_bounds__(kSumThreads)
    chunk_sums_kernel(Term term, double* chunks, int64_t n, unsigned chunks_each) {
    WAVLLM_SHARED(double, partial, [kSumThreads / 32]);
    const int64_t begin = blockIdx.x % chunks_each * kSumChunk, end = min(n, begin + kSumChunk);
    const unsigned array = blockIdx.x / chunks_each;
    typename Term::Sum sum = 0;
    int64_t i = begin + threadIdx.x * V;
    for (; i + V <= end; i += kSumThreads * V) sum = term.template add<V>(sum, array, i);
    for (; i < end; ++i) sum = term.template add<1>(sum, array, i);  // one thread's rest of fewer than V
    const double total = block_sum_of_doubles(sum, partial);
    if (threadIdx.x == 0) chunks[blockIdx.x] = total;
}

/// chunks[a * sum_chunks(n) + c] = the sum of chunk c of array a, where term.add<V>(sum, a, i) gives sum plus the terms of
/// elements i .. i + V - 1 of array a, each of n elements. wide: whether V may be 4.
template <class Term>
static void launch_chunk_sums(const char* name, const Term& term, double* chunks, int64_t n, int64_t arrays,
                              bool wide) {
    const auto each = static_cast<unsigned>(sum_chunks(n));
    if (each == 0 || arrays == 0) return;
    launch(wide ? chunk_sums_kernel<4, Term> : chunk_sums_kernel<1, Term>,
           {.grid = dim3(each * static_cast<unsigned>(arrays)), .block = kSumThreads, .name = name}, term, chunks, n,
           each);
}

/// The sum of `count` chunks, by one block of 256 threads, for thread 0. partial as above.
static __device__ __forceinline__ double sum_of_chunks(const double* chunks, int64_t count, double* partial) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < count; i += kSumThreads) sum += chunks[i];
    return block_sum_of_doubles(sum, partial);
}

}  // namespace wavllm::kernels
