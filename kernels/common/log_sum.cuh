#pragma once
// Maximum and sum of exponentials of a row that a block walks over once (Milakov & Gimelshein 2018): each thread keeps a
// running pair of its own elements, and the pairs are merged in one fixed order.

#include "kernels/common/floats.cuh"
#include "kernels/common/reduce.cuh"

namespace wavllm::kernels {

/// sum = sum of exp(x - max).
struct MaxSum {
    // Finite, so that -inf is an ordinary element; an infinity or a NaN among the elements makes the sum a NaN.
    float max = -3.4e38f, sum = 0;

    template <int V>
    __device__ __forceinline__ void add(const Floats<V>& x) {
        float top = max;
#pragma unroll
        for (int k = 0; k < V; ++k) top = fmaxf(top, x.v[k]);
        sum *= expf(max - top);
#pragma unroll
        for (int k = 0; k < V; ++k) sum += expf(x.v[k] - top);
        max = top;
    }
};

/// Of all elements. The threads' sums are added in double: next to a 1 they would lose what makes the loss of a confident
/// row.
struct BlockMaxSum {
    float max;
    double sum;
};

/// All threads of a block of whole warps must call it; every thread gets it. `maxima`, `sums`: shared, one a warp.
static __device__ __forceinline__ BlockMaxSum block_max_sum(const MaxSum& mine, float* maxima, double* sums) {
    const float top = block_max(mine.max, maxima);
    double sum = mine.sum * expf(mine.max - top);
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = threadIdx.x % 32 < blockDim.x / 32 ? sums[threadIdx.x % 32] : 0.0;
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    return {top, sum};
}

}  // namespace wavllm::kernels
