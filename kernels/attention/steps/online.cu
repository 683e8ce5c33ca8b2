// Step 2: a warp for each row of each head. Its lanes share out the elements of a head, so that they read side by side; a
// running maximum (Milakov & Gimelshein 2018) makes one pass of the three.

#include "kernels/attention/sequence.cuh"
#include "kernels/attention/steps/steps.h"
#include "kernels/common/reduce.cuh"

namespace wavllm::kernels {

namespace {

constexpr int kRows = 4;      // warps of a block
constexpr int kElements = 8;  // of a head, a lane: 256 / 32

__global__ void __launch_bounds__(32 * kRows)
    attention_online_kernel(DeviceAttention a, int64_t tiles, float* y, float* log_sum_exp) {
    const auto item = AttentionItem::of(blockIdx.x, a.heads, tiles);
    const auto sequence = AttentionSequence::of(a, item.sequence);
    const int64_t i = item.tile * kRows + threadIdx.x / 32, kv_head = item.head / (a.heads / a.kv_heads);
    const int lane = threadIdx.x % 32;
    if (i >= sequence.queries) return;  // a whole warp
    const float* k = a.k.p + sequence.k0 * a.k.row + kv_head * a.k.head;
    const float* v = a.v.p + sequence.k0 * a.v.row + kv_head * a.v.head;
    const int64_t visible = sequence.visible(i), at = (sequence.q0 + i) * a.heads + item.head;

    float q[kElements] = {}, o[kElements] = {}, top = kLowestScore, total = 0;
#pragma unroll
    for (int n = 0; n < kElements; ++n)
        if (const int d = lane + 32 * n; d < a.dh)
            q[n] = a.q.p[(sequence.q0 + i) * a.q.row + item.head * a.q.head + d] * (a.scale * kAttentionLog2E);
    for (int64_t j = 0; j < visible; ++j) {
        float s = 0;
#pragma unroll
        for (int n = 0; n < kElements; ++n)
            if (const int d = lane + 32 * n; d < a.dh) s = fmaf(q[n], k[j * a.k.row + d], s);
        s = warp_sum(s);
        const float higher = fmaxf(top, s), factor = exp2f(top - higher), p = exp2f(s - higher);
        top = higher;
        total = fmaf(total, factor, p);
#pragma unroll
        for (int n = 0; n < kElements; ++n)
            if (const int d = lane + 32 * n; d < a.dh) o[n] = fmaf(p, v[j * a.v.row + d], o[n] * factor);
    }
    if (lane == 0) log_sum_exp[at] = visible > 0 ? top + log2f(total) : -INFINITY;
#pragma unroll
    for (int n = 0; n < kElements; ++n)
        if (const int d = lane + 32 * n; d < a.dh) y[at * a.dh + d] = visible > 0 ? o[n] / total : 0.0f;
}

void online(const DeviceAttention& a, float* y, float* log_sum_exp) {
    if (a.longest_q == 0) return;
    launch(attention_online_kernel,
           {.grid = attention_blocks(a, a.heads, a.longest_q, kRows), .block = 32 * kRows, .name = "attention, step 2"},
           a, (a.longest_q + kRows - 1) / kRows, y, log_sum_exp);
}

WAVLLM_CUDA_BODY(attention_online_body, online);

}  // namespace

}  // namespace wavllm::kernels
