// Attention in f32: the third step of steps/steps.h. A block has a tile of queries and walks over its keys, block by
// block, with a running maximum; scores live in registers and shared memory only.

#include "kernels/attention/tile.cuh"

namespace wavllm::kernels {

namespace {

template <class Tile, bool kBias>
constexpr size_t forward_shared() {  // q, k, v, probabilities, bias by distance
    return sizeof(float) * (Tile::kHead * (Tile::Rows + 2 * Tile::Cols) + Tile::kScores * Tile::Rows +
                            (kBias ? Tile::Rows + Tile::Cols : 0));
}

template <class Tile, bool kBias>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    attention_kernel(DeviceAttention a, int64_t tiles, bool q_vectors, bool k_vectors, bool v_vectors, float* y,
                     float* log_sum_exp) {
    constexpr int RT = Tile::RT, CT = Tile::CT;
    WAVLLM_DYNAMIC_SHARED(float, shared);
    float *q = shared, *k = q + Tile::kHead * Tile::Rows, *v = k + Tile::kHead * Tile::Cols,
          *p = v + Tile::kHead * Tile::Cols;
    [[maybe_unused]] float* distances = p + Tile::kScores * Tile::Rows;
    const auto item = AttentionItem::of(blockIdx.x, a.heads, tiles);
    const auto sequence = AttentionSequence::of(a, item.sequence);
    // The last tiles see the most keys under a causal mask: they start first.
    const int64_t first = (tiles - 1 - item.tile) * Tile::Rows;
    const int64_t rows = min(static_cast<int64_t>(Tile::Rows), sequence.queries - first);
    if (rows <= 0) return;
    const int64_t row0 = sequence.q0 + first, kv_head = item.head / (a.heads / a.kv_heads);
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    load_heads<Tile, Tile::Rows>(q, a.q.p + row0 * a.q.row + item.head * a.q.head, a.q.row, rows, a.dh,
                                 a.scale * kAttentionLog2E, q_vectors);

    [[maybe_unused]] float gate[RT];
    if constexpr (kBias)
        for (int r = 0; r < RT; ++r) {
            const int64_t i = min(static_cast<int64_t>(ty * RT + r), rows - 1);
            gate[r] = a.gate[(row0 + i) * a.heads + item.head] * kAttentionLog2E;
        }
    float o[RT][Tile::Chunks][4], maximum[RT], total[RT];
    set_zero<Tile>(o);
#pragma unroll
    for (int r = 0; r < RT; ++r) {
        maximum[r] = kLowestScore;
        total[r] = 0;  // of this thread's columns
    }
    const int64_t tile_keys = sequence.visible(first + rows - 1);
    for (int64_t j = 0; j < tile_keys; j += Tile::Cols) {
        const int64_t keys = min(static_cast<int64_t>(Tile::Cols), tile_keys - j), row = sequence.k0 + j;
        __syncthreads();  // all have read what was there
        load_heads<Tile, Tile::Cols>(k, a.k.p + row * a.k.row + kv_head * a.k.head, a.k.row, keys, a.dh, 1.0f,
                                     k_vectors);
        load_heads<Tile, Tile::Cols>(v, a.v.p + row * a.v.row + kv_head * a.v.head, a.v.row, keys, a.dh, 1.0f,
                                     v_vectors);
        if constexpr (kBias) load_distances<Tile>(distances, a, item.head, j - first - (Tile::Rows - 1));
        __syncthreads();
        float s[RT][CT];
        dot_products<Tile>(q, k, a.dh, s);
        if constexpr (kBias) {
#pragma unroll
            for (int r = 0; r < RT; ++r)
#pragma unroll
                for (int c = 0; c < CT; ++c)
                    s[r][c] = fmaf(gate[r], distances[tx + 16 * c - (ty * RT + r) + Tile::Rows - 1], s[r][c]);
        }
#pragma unroll
        for (int r = 0; r < RT; ++r) {
            const int visible = sequence.visible_after(first + ty * RT + r, j, Tile::Cols);
            float top = maximum[r];
#pragma unroll
            for (int c = 0; c < CT; ++c)
                if (tx + 16 * c < visible) top = fmaxf(top, s[r][c]);
            top = row_max(top);
            const float factor = exp2f(maximum[r] - top);
            maximum[r] = top;
            total[r] *= factor;
#pragma unroll
            for (int c = 0; c < CT; ++c) {
                s[r][c] = tx + 16 * c < visible ? exp2f(s[r][c] - top) : 0.0f;
                total[r] += s[r][c];
            }
#pragma unroll
            for (int n = 0; n < Tile::Chunks; ++n)
#pragma unroll
                for (int i = 0; i < 4; ++i) o[r][n][i] *= factor;
        }
        put_scores<Tile>(p, s);
        __syncwarp();
        add_product<Tile>(p, v, static_cast<int>(keys), a.dh, o);
    }
#pragma unroll
    for (int r = 0; r < RT; ++r) {
        const float sum = row_sum(total[r]);
        const int64_t i = ty * RT + r, at = (row0 + i) * a.heads + item.head;
        if (i >= rows) continue;
        const bool any = sequence.visible(first + i) > 0;
        if (tx == 0) log_sum_exp[at] = any ? maximum[r] + log2f(sum) : -INFINITY;
        store_head<Tile>(y + at * a.dh, o[r], a.dh, any ? 1.0f / sum : 0.0f);
    }
}

template <class Tile, bool kBias>
void launch_forward(const DeviceAttention& a, float* y, float* log_sum_exp) {
    static_assert(forward_shared<Tile, kBias>() <= kMostShared);
    const int64_t tiles = (a.longest_q + Tile::Rows - 1) / Tile::Rows;
    launch(attention_kernel<Tile, kBias>,
           {.grid = attention_blocks(a, a.heads, a.longest_q, Tile::Rows),
            .block = Tile::kThreads,
            .shared_bytes = forward_shared<Tile, kBias>(),
            .name = kBias ? "attention with a gated bias" : "attention"},
           a, tiles, in_vectors(a.q, a.dh), in_vectors(a.k, a.dh), in_vectors(a.v, a.dh), y, log_sum_exp);
}

template <class Tile>
void forward_with(const DeviceAttention& a, float* y, float* log_sum_exp) {
    if (a.gate != nullptr)
        launch_forward<Tile, true>(a, y, log_sum_exp);
    else
        launch_forward<Tile, false>(a, y, log_sum_exp);
}

void forward(const DeviceAttention& a, float* y, float* log_sum_exp) {
    if (a.dh <= 64)
        forward_with<AttentionTile<64, 64, 64>>(a, y, log_sum_exp);
    else if (a.dh <= 128)
        forward_with<AttentionTile<128, 64, 32>>(a, y, log_sum_exp);
    else
        forward_with<AttentionTile<256, 32, 16>>(a, y, log_sum_exp);
}

WAVLLM_CUDA_BODY(attention_body, forward);

}  // namespace

}  // namespace wavllm::kernels
