#pragma once
// Sums and maxima over a warp or a block, in one fixed order: the same bits whenever and wherever a row is computed.
// Every thread gets the result. static: the builds of a .cu file must not share code.

#include "kernels/simt/cuda.h"

namespace wavllm::kernels {

/// Butterfly: lane i adds lane i ^ 16, then ^ 8 ... A sum of two is the same from both sides, so all lanes agree.
static __device__ __forceinline__ float warp_sum(float v) {
    for (int distance = 16; distance > 0; distance /= 2) v += __shfl_xor_sync(0xffffffffu, v, distance);
    return v;
}

static __device__ __forceinline__ float warp_max(float v) {
    for (int distance = 16; distance > 0; distance /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, distance));
    return v;
}

/// All threads of a block of whole warps must call it. `partial`: shared, one float a warp; it may be used again after
/// the next barrier.
static __device__ __forceinline__ float block_sum(float v, float* partial) {
    v = warp_sum(v);
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    if (lane == 0) partial[warp] = v;
    __syncthreads();
    return warp_sum(lane < warps ? partial[lane] : 0.0f);
}

static __device__ __forceinline__ float block_max(float v, float* partial) {
    v = warp_max(v);
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    if (lane == 0) partial[warp] = v;
    __syncthreads();
    return warp_max(lane < warps ? partial[lane] : partial[0]);
}

}  // namespace wavllm::kernels
