// Backward of attention with its products in bf16 on tensor cores. The two kernels of backward.cu, 16 rows a warp. Factors
// that are rounded: scale * q, k, v, dy, the probabilities and ds.

#include "kernels/attention/bf16.cuh"
#include "kernels/attention/delta.cuh"

namespace wavllm::kernels {

namespace {

/// Two tiles of Rows (the block's own), and twice two of Cols (what passes by).
template <class Tile>
constexpr size_t backward_shared() {
    return sizeof(__nv_bfloat16) * Tile::kHead * (2 * Tile::Rows + 4 * Tile::Cols);
}

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    dq_bf16_kernel(DeviceAttention a, PackedHeads packed, DeviceAttentionGradients grad, int64_t tiles) {
    constexpr int kColumns = Tile::Cols / 8;
    WAVLLM_DYNAMIC_SHARED(__nv_bfloat16, shared);
    __nv_bfloat16 *q = shared, *dy = q + Tile::kHead * Tile::Rows, *passing = dy + Tile::kHead * Tile::Rows;
    const auto item = AttentionItem::of(blockIdx.x, a.heads, tiles);
    const auto sequence = AttentionSequence::of(a, item.sequence);
    const int64_t first = (tiles - 1 - item.tile) * Tile::Rows;
    const int64_t rows = min(static_cast<int64_t>(Tile::Rows), sequence.queries - first);
    if (rows <= 0) return;
    const int64_t row0 = sequence.q0 + first, kv_head = item.head / (a.heads / a.kv_heads);
    const int64_t q_stride = a.heads * Tile::Dh, k_stride = a.kv_heads * Tile::Dh;
    const int64_t tile_keys = sequence.visible(first + rows - 1);
    const auto fetch = [&](int64_t j) {
        __nv_bfloat16 *k = passing + j / Tile::Cols % 2 * (2 * Tile::kHead * Tile::Cols),
                      *v = k + Tile::kHead * Tile::Cols;
        const int64_t from = (sequence.k0 + j) * k_stride + kv_head * Tile::Dh;
        fetch_heads<Tile, Tile::Cols>(k, static_cast<const __nv_bfloat16*>(packed.k) + from, k_stride, tile_keys - j);
        fetch_heads<Tile, Tile::Cols>(v, static_cast<const __nv_bfloat16*>(packed.v) + from, k_stride, tile_keys - j);
    };
    if (tile_keys > 0) {
        const int64_t from = row0 * q_stride + item.head * Tile::Dh;
        fetch_heads<Tile, Tile::Rows>(q, static_cast<const __nv_bfloat16*>(packed.q) + from, q_stride, rows);
        fetch_heads<Tile, Tile::Rows>(dy, static_cast<const __nv_bfloat16*>(packed.dy) + from, q_stride, rows);
        fetch(0);
    }
    cp_async_commit();

    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float dq[Tile::Width / 8][4], lse[2], delta[2];
    set_zero(dq);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int64_t i = min(static_cast<int64_t>(Tile::first_row() + g + 8 * half), rows - 1),
                      at = (row0 + i) * a.heads + item.head;
        lse[half] = grad.log_sum_exp[at];
        delta[half] = grad.delta[at];
    }
    for (int64_t j = 0; j < tile_keys; j += Tile::Cols) {
        if (j + Tile::Cols < tile_keys) fetch(j + Tile::Cols);
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();
        const __nv_bfloat16 *k = passing + j / Tile::Cols % 2 * (2 * Tile::kHead * Tile::Cols),
                            *v = k + Tile::kHead * Tile::Cols;
        float s[kColumns][4], ds[kColumns][4];
        tensor_scores<Tile>(q, k, s);
        tensor_scores<Tile>(dy, v, ds);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int visible = sequence.visible_after(first + Tile::first_row() + g + 8 * half, j, Tile::Cols);
#pragma unroll
            for (int n = 0; n < kColumns; ++n)
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float& d = ds[n][2 * half + i];
                    d = 8 * n + 2 * t + i < visible ? exp2f(s[n][2 * half + i] - lse[half]) * (d - delta[half]) : 0.0f;
                }
        }
        tensor_sums<Tile>(ds, k, dq);
        __syncthreads();
    }
    cp_async_wait<0>();
#pragma unroll
    for (int half = 0; half < 2; ++half)
        if (const int64_t i = Tile::first_row() + g + 8 * half; i < rows)
            store_tensor_row<Tile>(grad.dq + ((row0 + i) * a.heads + item.head) * a.dh, dq, half, a.dh, a.scale);
}

/// Rows are keys here, columns are queries.
template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    dkv_bf16_kernel(DeviceAttention a, PackedHeads packed, DeviceAttentionGradients grad, int64_t tiles) {
    constexpr int kColumns = Tile::Cols / 8;
    WAVLLM_DYNAMIC_SHARED(__nv_bfloat16, shared);
    __nv_bfloat16 *k = shared, *v = k + Tile::kHead * Tile::Rows, *passing = v + Tile::kHead * Tile::Rows;
    const auto item = AttentionItem::of(blockIdx.x, a.kv_heads, tiles);
    const auto sequence = AttentionSequence::of(a, item.sequence);
    const int64_t j = item.tile * Tile::Rows;
    const int64_t rows = min(static_cast<int64_t>(Tile::Rows), sequence.keys - j);
    if (rows <= 0) return;
    const int64_t row0 = sequence.k0 + j, group = a.heads / a.kv_heads, first = sequence.first_query(j);
    const int64_t q_stride = a.heads * Tile::Dh, k_stride = a.kv_heads * Tile::Dh;
    // All heads of the group after one another, of each the blocks of queries that see something.
    const int64_t blocks = max((sequence.queries - first + Tile::Cols - 1) / Tile::Cols, int64_t{0}),
                  all = group * blocks;
    const auto fetch = [&](int64_t n) {
        const int64_t head = item.head * group + n / blocks, i = first + n % blocks * Tile::Cols,
                      queries = sequence.queries - i, row = sequence.q0 + i;
        __nv_bfloat16 *q = passing + n % 2 * (2 * Tile::kHead * Tile::Cols), *dy = q + Tile::kHead * Tile::Cols;
        const int64_t from = row * q_stride + head * Tile::Dh;
        fetch_heads<Tile, Tile::Cols>(q, static_cast<const __nv_bfloat16*>(packed.q) + from, q_stride, queries);
        fetch_heads<Tile, Tile::Cols>(dy, static_cast<const __nv_bfloat16*>(packed.dy) + from, q_stride, queries);
        if (threadIdx.x < Tile::Cols) {
            const int column = static_cast<int>(threadIdx.x);
            const bool real = column < queries;
            const int64_t at = real ? (row + column) * a.heads + head : 0;
            cp_async<4>(behind_head<Tile>(q, column), grad.log_sum_exp + at, real ? 4 : 0);
            cp_async<4>(behind_head<Tile>(dy, column), grad.delta + at, real ? 4 : 0);
        }
    };
    if (all > 0) {
        const int64_t from = row0 * k_stride + item.head * Tile::Dh;
        fetch_heads<Tile, Tile::Rows>(k, static_cast<const __nv_bfloat16*>(packed.k) + from, k_stride, rows);
        fetch_heads<Tile, Tile::Rows>(v, static_cast<const __nv_bfloat16*>(packed.v) + from, k_stride, rows);
        fetch(0);
    }
    cp_async_commit();

    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float dk[Tile::Width / 8][4], dv[Tile::Width / 8][4];
    set_zero(dk);
    set_zero(dv);
    for (int64_t n = 0; n < all; ++n) {
        if (n + 1 < all) fetch(n + 1);
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();
        __nv_bfloat16 *q = passing + n % 2 * (2 * Tile::kHead * Tile::Cols), *dy = q + Tile::kHead * Tile::Cols;
        const int64_t i = first + n % blocks * Tile::Cols;
        float p[kColumns][4], ds[kColumns][4];
        tensor_scores<Tile>(k, q, p);
        tensor_scores<Tile>(v, dy, ds);
#pragma unroll
        for (int c = 0; c < kColumns; ++c)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                const int column = 8 * c + 2 * t + e;
                const int visible =
                    i + column < sequence.queries ? sequence.visible_after(i + column, j, Tile::Rows) : 0;
                const float lse = *behind_head<Tile>(q, column), delta = *behind_head<Tile>(dy, column);
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    float &pr = p[c][2 * half + e], &d = ds[c][2 * half + e];
                    const bool sees = Tile::first_row() + g + 8 * half < visible;
                    pr = sees ? exp2f(pr - lse) : 0.0f;
                    d = sees ? pr * (d - delta) : 0.0f;
                }
            }
        tensor_sums<Tile>(p, dy, dv);
        tensor_sums<Tile>(ds, q, dk);
        __syncthreads();
    }
    cp_async_wait<0>();
#pragma unroll
    for (int half = 0; half < 2; ++half)
        if (const int64_t row = Tile::first_row() + g + 8 * half; row < rows) {
            const int64_t at = ((row0 + row) * a.kv_heads + item.head) * a.dh;
            store_tensor_row<Tile>(grad.dk + at, dk, half, a.dh, kAttentionLn2);
            store_tensor_row<Tile>(grad.dv + at, dv, half, a.dh, 1.0f);
        }
}

template <class Tile>
void backward_with(const DeviceAttention& a, const PackedHeads& packed, const DeviceAttentionGradients& g) {
    static_assert(backward_shared<Tile>() <= kMostShared);
    if (g.dq != nullptr && a.longest_q > 0)
        launch(dq_bf16_kernel<Tile>,
               {.grid = attention_blocks(a, a.heads, a.longest_q, Tile::Rows),
                .block = Tile::kThreads,
                .shared_bytes = backward_shared<Tile>(),
                .name = "attention backward of q in bf16"},
               a, packed, g, (a.longest_q + Tile::Rows - 1) / Tile::Rows);
    if (g.dk != nullptr && a.longest_k > 0)
        launch(dkv_bf16_kernel<Tile>,
               {.grid = attention_blocks(a, a.kv_heads, a.longest_k, Tile::Rows),
                .block = Tile::kThreads,
                .shared_bytes = backward_shared<Tile>(),
                .name = "attention backward of k and v in bf16"},
               a, packed, g, (a.longest_k + Tile::Rows - 1) / Tile::Rows);
}

void backward(const DeviceAttention& a, const PackedHeads& packed, const DeviceAttentionGradients& g) {
    row_deltas(a, g);
    pack_heads(a.q, packed.q_rows, a.heads, a.dh, a.scale * kAttentionLog2E, packed.q);
    pack_heads(a.k, packed.k_rows, a.kv_heads, a.dh, 1.0f, packed.k);
    pack_heads(a.v, packed.k_rows, a.kv_heads, a.dh, 1.0f, packed.v);
    pack_heads({g.dy, a.heads * a.dh, a.dh}, packed.q_rows, a.heads, a.dh, 1.0f, packed.dy);
    if (a.dh <= 64)
        backward_with<TensorTile<64, 64, 1>>(a, packed, g);
    else if (a.dh <= 128)
        backward_with<TensorTile<128, 32, 1>>(a, packed, g);
    else
        backward_with<TensorTile<256, 16, 2>>(a, packed, g);
}

WAVLLM_CUDA_BODY(attention_backward_bf16_body, backward);

}  // namespace

}  // namespace wavllm::kernels
