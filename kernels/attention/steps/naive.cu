// Step 1: the formula, a thread for each row of each head. Nothing is stored between the passes, since a row of scores has
// no room in a thread; so the scores are computed three times.

#include "kernels/attention/sequence.cuh"
#include "kernels/attention/steps/steps.h"

namespace wavllm::kernels {

namespace {

constexpr int kThreads = 128;

__device__ __forceinline__ float score(const DeviceAttention& a, const float* q, const float* k) {
    float sum = 0;
    for (int d = 0; d < a.dh; ++d) sum = fmaf(q[d] * (a.scale * kAttentionLog2E), k[d], sum);
    return sum;
}

__global__ void attention_naive_kernel(DeviceAttention a, int64_t tiles, float* y, float* log_sum_exp) {
    const auto item = AttentionItem::of(blockIdx.x, a.heads, tiles);
    const auto sequence = AttentionSequence::of(a, item.sequence);
    const int64_t i = item.tile * kThreads + threadIdx.x, kv_head = item.head / (a.heads / a.kv_heads);
    if (i >= sequence.queries) return;
    const float* q = a.q.p + (sequence.q0 + i) * a.q.row + item.head * a.q.head;
    const float* k = a.k.p + sequence.k0 * a.k.row + kv_head * a.k.head;
    const float* v = a.v.p + sequence.k0 * a.v.row + kv_head * a.v.head;
    const int64_t visible = sequence.visible(i), at = (sequence.q0 + i) * a.heads + item.head;

    float top = kLowestScore, total = 0;
    for (int64_t j = 0; j < visible; ++j) top = fmaxf(top, score(a, q, k + j * a.k.row));
    for (int64_t j = 0; j < visible; ++j) total += exp2f(score(a, q, k + j * a.k.row) - top);
    log_sum_exp[at] = visible > 0 ? top + log2f(total) : -INFINITY;
    for (int d = 0; d < a.dh; ++d) y[at * a.dh + d] = 0;
    for (int64_t j = 0; j < visible; ++j) {
        const float p = exp2f(score(a, q, k + j * a.k.row) - top) / total;
        for (int d = 0; d < a.dh; ++d) y[at * a.dh + d] = fmaf(p, v[j * a.v.row + d], y[at * a.dh + d]);
    }
}

void naive(const DeviceAttention& a, float* y, float* log_sum_exp) {
    if (a.longest_q == 0) return;
    launch(
        attention_naive_kernel,
        {.grid = attention_blocks(a, a.heads, a.longest_q, kThreads), .block = kThreads, .name = "attention, step 1"},
        a, (a.longest_q + kThreads - 1) / kThreads, y, log_sum_exp);
}

WAVLLM_CUDA_BODY(attention_naive_body, naive);

}  // namespace

}  // namespace wavllm::kernels
