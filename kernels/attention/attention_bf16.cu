// Attention with its products in bf16 on tensor cores, sums in f32: the last step of steps/steps.h. As attention.cu, but
// 16 queries a warp, and the next block of keys is on its way while this one is worked on.

#include "kernels/attention/bf16.cuh"

namespace wavllm::kernels {

namespace {

template <class Tile>
constexpr size_t forward_shared() {  // q, and k and v twice
    return sizeof(__nv_bfloat16) * Tile::kHead * (Tile::Rows + 4 * Tile::Cols);
}

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    attention_bf16_kernel(DeviceAttention a, PackedHeads packed, int64_t tiles, float* y, float* log_sum_exp) {
    constexpr int kColumns = Tile::Cols / 8;
    WAVLLM_DYNAMIC_SHARED(__nv_bfloat16, shared);
    __nv_bfloat16 *q = shared,
                  *keys_of[2] = {q + Tile::kHead * Tile::Rows, q + Tile::kHead * (Tile::Rows + 2 * Tile::Cols)};
    const auto item = AttentionItem::of(blockIdx.x, a.heads, tiles);
    const auto sequence = AttentionSequence::of(a, item.sequence);
    const int64_t first = (tiles - 1 - item.tile) * Tile::Rows;
    const int64_t rows = min(static_cast<int64_t>(Tile::Rows), sequence.queries - first);
    if (rows <= 0) return;
    const int64_t row0 = sequence.q0 + first, kv_head = item.head / (a.heads / a.kv_heads);
    const int64_t q_stride = a.heads * Tile::Dh, k_stride = a.kv_heads * Tile::Dh;
    const int64_t tile_keys = sequence.visible(first + rows - 1);
    const auto fetch = [&](int64_t j) {
        __nv_bfloat16 *k = keys_of[j / Tile::Cols % 2], *v = k + Tile::kHead * Tile::Cols;
        const int64_t from = (sequence.k0 + j) * k_stride + kv_head * Tile::Dh;
        fetch_heads<Tile, Tile::Cols>(k, static_cast<const __nv_bfloat16*>(packed.k) + from, k_stride, tile_keys - j);
        fetch_heads<Tile, Tile::Cols>(v, static_cast<const __nv_bfloat16*>(packed.v) + from, k_stride, tile_keys - j);
    };
    if (tile_keys > 0) {
        fetch_heads<Tile, Tile::Rows>(
            q, static_cast<const __nv_bfloat16*>(packed.q) + row0 * q_stride + item.head * Tile::Dh, q_stride, rows);
        fetch(0);
    }
    cp_async_commit();

    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float o[Tile::Width / 8][4], maximum[2] = {kLowestScore, kLowestScore}, total[2] = {};
    set_zero(o);
    for (int64_t j = 0; j < tile_keys; j += Tile::Cols) {
        if (j + Tile::Cols < tile_keys) fetch(j + Tile::Cols);
        cp_async_commit();  // empty at the end, so that the wait below always means this block's copies
        cp_async_wait<1>();
        __syncthreads();
        const __nv_bfloat16 *k = keys_of[j / Tile::Cols % 2], *v = k + Tile::kHead * Tile::Cols;
        float s[kColumns][4];
        tensor_scores<Tile>(q, k, s);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int visible = sequence.visible_after(first + Tile::first_row() + g + 8 * half, j, Tile::Cols);
            float top = maximum[half];
#pragma unroll
            for (int n = 0; n < kColumns; ++n)
#pragma unroll
                for (int i = 0; i < 2; ++i)
                    if (8 * n + 2 * t + i < visible) top = fmaxf(top, s[n][2 * half + i]);
            top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
            top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
            const float factor = exp2f(maximum[half] - top);
            maximum[half] = top;
            total[half] *= factor;
#pragma unroll
            for (int n = 0; n < kColumns; ++n)
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float& p = s[n][2 * half + i];
                    p = 8 * n + 2 * t + i < visible ? exp2f(p - top) : 0.0f;
                    total[half] += p;
                }
#pragma unroll
            for (int n = 0; n < Tile::Width / 8; ++n) {
                o[n][2 * half] *= factor;
                o[n][2 * half + 1] *= factor;
            }
        }
        tensor_sums<Tile>(s, v, o);
        __syncthreads();  // the block after the next is copied over this one
    }
    cp_async_wait<0>();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float sum = total[half];
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        const int64_t i = Tile::first_row() + g + 8 * half, at = (row0 + i) * a.heads + item.head;
        if (i >= rows) continue;
        const bool any = sequence.visible(first + i) > 0;
        if (t == 0 && Tile::first_element() == 0) log_sum_exp[at] = any ? maximum[half] + log2f(sum) : -INFINITY;
        store_tensor_row<Tile>(y + at * a.dh, o, half, a.dh, any ? 1.0f / sum : 0.0f);
    }
}

template <class Tile>
void forward_with(const DeviceAttention& a, const PackedHeads& packed, float* y, float* log_sum_exp) {
    static_assert(forward_shared<Tile>() <= kMostShared);
    launch(attention_bf16_kernel<Tile>,
           {.grid = attention_blocks(a, a.heads, a.longest_q, Tile::Rows),
            .block = Tile::kThreads,
            .shared_bytes = forward_shared<Tile>(),
            .name = "attention in bf16"},
           a, packed, (a.longest_q + Tile::Rows - 1) / Tile::Rows, y, log_sum_exp);
}

void forward(const DeviceAttention& a, const PackedHeads& packed, float* y, float* log_sum_exp) {
    pack_heads(a.q, packed.q_rows, a.heads, a.dh, a.scale * kAttentionLog2E, packed.q);
    pack_heads(a.k, packed.k_rows, a.kv_heads, a.dh, 1.0f, packed.k);
    pack_heads(a.v, packed.k_rows, a.kv_heads, a.dh, 1.0f, packed.v);
    if (a.dh <= 64)
        forward_with<TensorTile<64, 64, 1>>(a, packed, y, log_sum_exp);
    else if (a.dh <= 128)
        forward_with<TensorTile<128, 64, 1>>(a, packed, y, log_sum_exp);
    else
        forward_with<TensorTile<256, 32, 2>>(a, packed, y, log_sum_exp);
}

WAVLLM_CUDA_BODY(attention_bf16_body, forward);

}  // namespace

}  // namespace wavllm::kernels
