#pragma once
// weights.h on a device: sums and maxima over a block, and a row's log_softmax.

#include "kernels/common/floats.cuh"
#include "kernels/common/math.cuh"
#include "kernels/sample/weights.h"

namespace wavllm::kernels {

using u64 = unsigned long long;

constexpr int kDrawThreads = 512, kDrawWarps = kDrawThreads / 32;  // a block a row

static __device__ __forceinline__ u64 weight_of(float x) {
    return x >= kNoWeight ? static_cast<u64>(exp_same_bits(x) * kWeightUnit) : 0;  // a NaN weighs nothing, too
}

/// All threads of a block of kDrawThreads must call them; every thread gets the result. partial: shared, one a warp.
static __device__ __forceinline__ u64 block_sum_u64(u64 v, u64* partial) {
    for (int distance = 16; distance > 0; distance /= 2) v += __shfl_xor_sync(0xffffffffu, v, distance);
    __syncthreads();  // some may still read the sums of the last call
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
    __syncthreads();
    u64 sum = 0;
    for (int i = 0; i < kDrawWarps; ++i) sum += partial[i];
    return sum;
}
static __device__ __forceinline__ u64 block_max_u64(u64 v, u64* partial) {
    for (int distance = 16; distance > 0; distance /= 2) v = max(v, __shfl_xor_sync(0xffffffffu, v, distance));
    __syncthreads();
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
    __syncthreads();
    u64 top = 0;
    for (int i = 0; i < kDrawWarps; ++i) top = max(top, partial[i]);
    return top;
}

/// A number that is largest for the largest x and, among equal ones, for the first; never 0, and never all ones.
static __device__ __forceinline__ u64 ranked(float x, int64_t i) {
    return static_cast<u64>(sort_key(x)) << 32 | (0xfffffffeu - static_cast<unsigned>(i));
}
static __device__ __forceinline__ int64_t index_of(u64 ranked_number) {
    return 0xfffffffeu - static_cast<unsigned>(ranked_number);
}

/// The sum over a row of f(z[i], i), V logits a load.
template <int V, class F>
static __device__ __forceinline__ u64 sum_over_row(const float* z, int64_t n, u64* partial, F&& f) {
    u64 sum = 0;
    for (int64_t i = threadIdx.x * V; i < n; i += kDrawThreads * V) {
        const auto x = Floats<V>::load(z + i);
#pragma unroll
        for (int k = 0; k < V; ++k) sum += f(x.v[k], i + k);
    }
    return block_sum_u64(sum, partial);
}
template <int V, class F>
static __device__ __forceinline__ u64 max_over_row(const float* z, int64_t n, u64* partial, F&& f) {
    u64 top = 0;
    for (int64_t i = threadIdx.x * V; i < n; i += kDrawThreads * V) {
        const auto x = Floats<V>::load(z + i);
#pragma unroll
        for (int k = 0; k < V; ++k) top = max(top, f(x.v[k], i + k));
    }
    return block_max_u64(top, partial);
}

/// As in weights_row.h.
struct DeviceLogSoftmax {
    int64_t first_largest;
    float largest, log_sum;
    __device__ __forceinline__ float at(float z) const {
        return (z - largest) - log_sum;
    }
};

template <int V>
static __device__ __forceinline__ DeviceLogSoftmax log_softmax_of(const float* z, int64_t n, u64* partial) {
    const int64_t best = index_of(max_over_row<V>(z, n, partial, [](float x, int64_t i) { return ranked(x, i); }));
    const float largest = z[best];
    const u64 total = sum_over_row<V>(z, n, partial, [&](float x, int64_t) { return weight_of(x - largest); });
    return {best, largest, static_cast<float>(log(static_cast<double>(total) * 0x1p-40))};
}

}  // namespace wavllm::kernels
