// One query against a long cache (Flash-Decoding, Dao et al. 2023). A block has a chunk of a request's keys and one kv head,
// with all the query heads that share it: keys and values are read once, as long rows side by side. A second kernel merges
// the chunks in order.

#include "kernels/common/floats.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/decode_attention/decode_attention_body.h"

namespace wavllm::kernels {

namespace {

constexpr int kThreads = 128, kKeys = kDecodeChunk;
constexpr float kLog2E = 1.44269504088896341f;

/// Lanes lanes read a key's dh floats, V at a time and `Pieces` times: 32 V floats are at most one pass of a warp.
/// Heads: query heads at a time; more than that read the keys again, out of the L1 cache.
template <int V, int Lanes, int Pieces, int Heads>
__global__ void __launch_bounds__(kThreads, 3)
    decode_kernel(DeviceDecode a, int64_t chunks, float* partial, float* statistics) {
    constexpr int kSlots = kThreads / Lanes;  // keys that are read at the same time
    WAVLLM_SHARED(float, scores, [Heads][kKeys]);
    WAVLLM_SHARED(float, sums, [Heads][kThreads * V]);
    const int64_t kv_head = blockIdx.x % a.kv_heads, chunk = blockIdx.x / a.kv_heads % chunks,
                  request = blockIdx.x / a.kv_heads / chunks, group = a.heads / a.kv_heads;
    const int64_t first = chunk * kKeys, left = min(a.lengths[request], a.longest) - first;
    if (left <= 0) return;
    const int keys = left < kKeys ? static_cast<int>(left) : kKeys;
    const int lane = threadIdx.x % Lanes, slot = threadIdx.x / Lanes, warp = threadIdx.x / 32;
    const float* k = a.k + request * a.k_request + first * a.k_key + kv_head * a.k_head;
    const float* v = a.v + request * a.v_request + first * a.v_key + kv_head * a.v_head;

    for (int64_t h0 = kv_head * group; h0 < (kv_head + 1) * group; h0 += Heads) {
        const int heads = min(static_cast<int64_t>(Heads), (kv_head + 1) * group - h0);
        Floats<V> q[Heads][Pieces];
#pragma unroll
        for (int h = 0; h < Heads; ++h)
#pragma unroll
            for (int n = 0; n < Pieces; ++n) {
                const int d = V * (lane + Lanes * n);
                if (h < heads && d < a.dh)
                    q[h][n] = Floats<V>::load(a.q + request * a.q_request + (h0 + h) * a.q_head + d);
#pragma unroll
                for (int i = 0; i < V; ++i)
                    q[h][n].v[i] = h < heads && d < a.dh ? q[h][n].v[i] * (a.scale * kLog2E) : 0;
            }
#pragma unroll 4
        for (int j0 = 0; j0 < kKeys; j0 += kSlots) {
            const int j = j0 + slot;
            float s[Heads] = {};
            if (j < keys) {
#pragma unroll
                for (int n = 0; n < Pieces; ++n)
                    if (const int d = V * (lane + Lanes * n); d < a.dh) {
                        const auto kj = Floats<V>::load(k + j * a.k_key + d);
#pragma unroll
                        for (int h = 0; h < Heads; ++h)
#pragma unroll
                            for (int i = 0; i < V; ++i) s[h] = fmaf(q[h][n].v[i], kj.v[i], s[h]);
                    }
            }
#pragma unroll
            for (int h = 0; h < Heads; ++h) {
#pragma unroll
                for (int distance = Lanes / 2; distance > 0; distance /= 2)
                    s[h] += __shfl_xor_sync(0xffffffffu, s[h], distance);
                if (lane == 0) scores[h][j] = j < keys ? s[h] : -INFINITY;
            }
        }
        __syncthreads();
        // A warp has every fourth head: scores become 2^(score - maximum).
        for (int h = warp; h < heads; h += kThreads / 32) {
            float p[kKeys / 32], top = -INFINITY, total = 0;
#pragma unroll
            for (int i = 0; i < kKeys / 32; ++i) top = fmaxf(top, p[i] = scores[h][threadIdx.x % 32 + 32 * i]);
            top = warp_max(top);
#pragma unroll
            for (int i = 0; i < kKeys / 32; ++i) {
                total += p[i] = exp2f(p[i] - top);
                scores[h][threadIdx.x % 32 + 32 * i] = p[i];
            }
            total = warp_sum(total);
            if (threadIdx.x % 32 == 0) {
                float* to = statistics + 2 * ((request * chunks + chunk) * a.heads + h0 + h);
                to[0] = top;
                to[1] = total;
            }
        }
        __syncthreads();
        Floats<V> y[Heads][Pieces] = {};
#pragma unroll 4
        for (int j = slot; j < keys; j += kSlots)
#pragma unroll
            for (int n = 0; n < Pieces; ++n)
                if (const int d = V * (lane + Lanes * n); d < a.dh) {
                    const auto vj = Floats<V>::load(v + j * a.v_key + d);
#pragma unroll
                    for (int h = 0; h < Heads; ++h) {
                        if (h >= heads) break;
                        const float p = scores[h][j];
#pragma unroll
                        for (int i = 0; i < V; ++i) y[h][n].v[i] = fmaf(p, vj.v[i], y[h][n].v[i]);
                    }
                }
                // The slots' sums, one after the other.
#pragma unroll
        for (int n = 0; n < Pieces; ++n) {
#pragma unroll
            for (int h = 0; h < Heads; ++h) y[h][n].store(&sums[h][V * threadIdx.x]);
            __syncthreads();
            for (int i = threadIdx.x; i < heads * Lanes * V; i += kThreads) {
                const int h = i / (Lanes * V), d = i % (Lanes * V);
                if (d + n * Lanes * V >= a.dh) continue;
                float sum = sums[h][d];
                for (int other = 1; other < kSlots; ++other) sum += sums[h][other * Lanes * V + d];
                partial[((request * chunks + chunk) * a.heads + h0 + h) * a.dh + n * Lanes * V + d] = sum;
            }
            __syncthreads();
        }
    }
}

/// A block a request and head, a thread an element.
__global__ void merge_kernel(const float* partial, const float* statistics, const int64_t* lengths, int64_t longest,
                             int64_t heads, int dh, float* y) {
    const int64_t request = blockIdx.x / heads, head = blockIdx.x % heads;
    const int64_t chunks = (longest + kKeys - 1) / kKeys;
    const int64_t used = (min(lengths[request], longest) + kKeys - 1) / kKeys;
    const float* s = statistics + 2 * (request * chunks * heads + head);
    const int d = threadIdx.x;
    float top = -INFINITY, total = 0, sum = 0;
    for (int64_t c = 0; c < used; ++c) top = fmaxf(top, s[2 * c * heads]);
    for (int64_t c = 0; c < used; ++c) {
        const float factor = exp2f(s[2 * c * heads] - top);
        total = fmaf(factor, s[2 * c * heads + 1], total);
        if (d < dh) sum = fmaf(factor, partial[((request * chunks + c) * heads + head) * dh + d], sum);
    }
    if (d < dh) y[(request * heads + head) * dh + d] = used > 0 ? sum / total : 0.0f;
}

template <int V, int Lanes, int Pieces>
void chunks_with(const DeviceDecode& a, int64_t chunks, float* partial, float* statistics) {
    launch(a.heads == a.kv_heads ? decode_kernel<V, Lanes, Pieces, 1> : decode_kernel<V, Lanes, Pieces, 4>,
           {.grid = dim3(static_cast<unsigned>(a.requests * chunks * a.kv_heads)),
            .block = kThreads,
            .name = "decode_attention"},
           a, chunks, partial, statistics);
}

void decode(const DeviceDecode& a, float* partial, float* statistics, float* y) {
    const int64_t chunks = (a.longest + kKeys - 1) / kKeys;
    bool vectors = a.dh % 4 == 0;
    for (int64_t stride : {a.q_request, a.q_head, a.k_request, a.k_key, a.k_head, a.v_request, a.v_key, a.v_head})
        vectors = vectors && stride % 4 == 0;
    for (const float* p : {a.q, a.k, a.v}) vectors = vectors && reinterpret_cast<uintptr_t>(p) % 16 == 0;
    if (chunks > 0) {
        if (!vectors)
            chunks_with<1, 32, 8>(a, chunks, partial, statistics);
        else if (a.dh <= 32)
            chunks_with<4, 8, 1>(a, chunks, partial, statistics);
        else if (a.dh <= 64)
            chunks_with<4, 16, 1>(a, chunks, partial, statistics);
        else if (a.dh <= 128)
            chunks_with<4, 32, 1>(a, chunks, partial, statistics);
        else
            chunks_with<4, 32, 2>(a, chunks, partial, statistics);
    }
    launch(merge_kernel,
           {.grid = dim3(static_cast<unsigned>(a.requests * a.heads)),
            .block = dim3(static_cast<unsigned>((a.dh + 31) / 32 * 32)),
            .name = "decode_attention merge"},
           partial, statistics, a.lengths, a.longest, a.heads, a.dh, y);
}

WAVLLM_CUDA_BODY(decode_attention_body, decode);

}  // namespace

}  // namespace wavllm::kernels
