#pragma once
// delta = dy . y of every row and head: what both ways back begin with.

#include "kernels/attention/attention_body.h"
#include "kernels/common/reduce.cuh"

namespace wavllm::kernels {

/// A warp a row and head.
static __global__ void row_deltas_kernel(const float* dy, const float* y, float* delta, int64_t count, int dh) {
    const int64_t at = blockIdx.x * int64_t{8} + threadIdx.x / 32;
    if (at >= count) return;
    float sum = 0;
    for (int d = threadIdx.x % 32; d < dh; d += 32) sum = fmaf(dy[at * dh + d], y[at * dh + d], sum);
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) delta[at] = sum;
}

static inline void row_deltas(const DeviceAttention& a, const DeviceAttentionGradients& g) {
    const int64_t count = g.q_rows * a.heads;
    if (count == 0) return;
    launch(row_deltas_kernel,
           {.grid = dim3(static_cast<unsigned>((count + 7) / 8)), .block = 256, .name = "attention delta"}, g.dy, g.y,
           g.delta, count, a.dh);
}

}  // namespace wavllm::kernels
