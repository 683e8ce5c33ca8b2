// Backward of attention in f32, without atomics: one kernel has a tile of queries and walks over the keys (dq), the other a
// tile of keys and walks over the heads that share them and their queries (dk, dv). Each recomputes the probabilities.

#include "kernels/attention/delta.cuh"
#include "kernels/attention/tile.cuh"

namespace wavllm::kernels {

namespace {

template <class Tile, bool kBias>
constexpr size_t dq_shared() {  // q, dy, k, v, ds; bias by distance, gates, sums over distances
    return sizeof(float) * (Tile::kHead * 2 * (Tile::Rows + Tile::Cols) + Tile::kScores * Tile::Rows +
                            (kBias ? 3 * Tile::Rows + 2 * Tile::Cols : 0));
}

/// part[reach + clamp(d)] += sum of gate * ds over the tile's scores of distance d = first + t. A thread a distance, rows in
/// order: since the distances of a tile differ, only those beyond the reach meet in one place, and one thread adds them up.
template <class Tile>
static __device__ __forceinline__ void add_distances(const float* ds, const float* gates, int rows, int64_t first,
                                                     int64_t reach, float* sums, float* part) {
    constexpr int kDistances = Tile::Rows + Tile::Cols - 1;
    const int t = threadIdx.x;
    if (t < kDistances) {
        float sum = 0;
        const int from = max(0, Tile::Rows - 1 - t), to = min(rows, kDistances - t);
        for (int i = from; i < to; ++i) sum = fmaf(gates[i], ds[i * Tile::kScores + t - (Tile::Rows - 1) + i], sum);
        sums[t] = sum;
        if (const int64_t d = first + t; - reach < d && d < reach) part[reach + d] += sum;
    }
    if (first > -reach && first + kDistances - 1 < reach) return;  // the same for all threads
    __syncthreads();
    if (t > 0) return;
    for (int n = 0; n < kDistances; ++n) {
        if (first + n <= -reach)
            part[0] += sums[n];
        else if (first + n >= reach)
            part[2 * reach] += sums[n];
    }
}

template <class Tile, bool kBias>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    dq_kernel(DeviceAttention a, DeviceAttentionGradients g, int64_t tiles, bool q_vectors, bool k_vectors,
              bool v_vectors, bool dy_vectors) {
    constexpr int RT = Tile::RT, CT = Tile::CT;
    WAVLLM_DYNAMIC_SHARED(float, shared);
    float *q = shared, *dy = q + Tile::kHead * Tile::Rows, *k = dy + Tile::kHead * Tile::Rows,
          *v = k + Tile::kHead * Tile::Cols, *scores = v + Tile::kHead * Tile::Cols;
    [[maybe_unused]] float *distances = scores + Tile::kScores * Tile::Rows,
                           *gates = distances + Tile::Rows + Tile::Cols, *sums = gates + Tile::Rows;
    [[maybe_unused]] float* part = nullptr;
    const auto item = AttentionItem::of(blockIdx.x, a.heads, tiles);
    const auto sequence = AttentionSequence::of(a, item.sequence);
    const int64_t first = (tiles - 1 - item.tile) * Tile::Rows;
    const int64_t rows = min(static_cast<int64_t>(Tile::Rows), sequence.queries - first);
    if (rows <= 0) return;
    const int64_t row0 = sequence.q0 + first, kv_head = item.head / (a.heads / a.kv_heads), width = a.heads * a.dh;
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    load_heads<Tile, Tile::Rows>(q, a.q.p + row0 * a.q.row + item.head * a.q.head, a.q.row, rows, a.dh,
                                 a.scale * kAttentionLog2E, q_vectors);
    load_heads<Tile, Tile::Rows>(dy, g.dy + row0 * width + item.head * a.dh, width, rows, a.dh, 1.0f, dy_vectors);

    [[maybe_unused]] float gate[RT], dgate[RT];
    if constexpr (kBias) {
        if (threadIdx.x < Tile::Rows)
            gates[threadIdx.x] = threadIdx.x < rows ? a.gate[(row0 + threadIdx.x) * a.heads + item.head] : 0.0f;
        if (g.parts != nullptr) {
            part = g.parts + blockIdx.x * (2 * a.reach + 1);
            for (int64_t i = threadIdx.x; i < 2 * a.reach + 1; i += Tile::kThreads) part[i] = 0;
        }
        __syncthreads();
        for (int r = 0; r < RT; ++r) {
            gate[r] = gates[ty * RT + r] * kAttentionLog2E;
            dgate[r] = 0;
        }
    }
    float dq[RT][Tile::Chunks][4], lse[RT], delta[RT];
    set_zero<Tile>(dq);
#pragma unroll
    for (int r = 0; r < RT; ++r) {
        const int64_t i = min(static_cast<int64_t>(ty * RT + r), rows - 1), at = (row0 + i) * a.heads + item.head;
        lse[r] = g.log_sum_exp[at];
        delta[r] = g.delta[at];
    }
    const int64_t tile_keys = sequence.visible(first + rows - 1);
    for (int64_t j = 0; j < tile_keys; j += Tile::Cols) {
        const int64_t keys = min(static_cast<int64_t>(Tile::Cols), tile_keys - j), row = sequence.k0 + j;
        __syncthreads();
        load_heads<Tile, Tile::Cols>(k, a.k.p + row * a.k.row + kv_head * a.k.head, a.k.row, keys, a.dh, 1.0f,
                                     k_vectors);
        load_heads<Tile, Tile::Cols>(v, a.v.p + row * a.v.row + kv_head * a.v.head, a.v.row, keys, a.dh, 1.0f,
                                     v_vectors);
        if constexpr (kBias) load_distances<Tile>(distances, a, item.head, j - first - (Tile::Rows - 1));
        __syncthreads();
        float s[RT][CT], ds[RT][CT];
        dot_products<Tile>(q, k, a.dh, s);
        dot_products<Tile>(dy, v, a.dh, ds);
#pragma unroll
        for (int r = 0; r < RT; ++r) {
            const int visible = sequence.visible_after(first + ty * RT + r, j, Tile::Cols);
#pragma unroll
            for (int c = 0; c < CT; ++c) {
                [[maybe_unused]] float bias = 0;
                if constexpr (kBias) {
                    bias = distances[tx + 16 * c - (ty * RT + r) + Tile::Rows - 1];
                    s[r][c] = fmaf(gate[r], bias, s[r][c]);
                }
                ds[r][c] = tx + 16 * c < visible ? exp2f(s[r][c] - lse[r]) * (ds[r][c] - delta[r]) : 0.0f;
                if constexpr (kBias) dgate[r] = fmaf(ds[r][c], bias, dgate[r]);
            }
        }
        put_scores<Tile>(scores, ds);
        if constexpr (kBias) {
            __syncthreads();
            if (part != nullptr)
                add_distances<Tile>(scores, gates, static_cast<int>(rows), j - first - (Tile::Rows - 1), a.reach, sums,
                                    part);
        } else {
            __syncwarp();
        }
        add_product<Tile>(scores, k, static_cast<int>(keys), a.dh, dq);
    }
#pragma unroll
    for (int r = 0; r < RT; ++r) {
        const int64_t i = ty * RT + r, at = (row0 + i) * a.heads + item.head;
        if constexpr (kBias) {
            const float sum = row_sum(dgate[r]);
            if (tx == 0 && i < rows && g.dgate != nullptr) g.dgate[at] = sum;
            if (g.dq == nullptr) continue;
        }
        if (i < rows) store_head<Tile>(g.dq + at * a.dh, dq[r], a.dh, a.scale);
    }
}

/// dby_distance += what the tiles of each sequence add, in order, sequence by sequence. A thread a distance and head.
__global__ void sum_distances_kernel(DeviceAttention a, DeviceAttentionGradients g, int64_t tiles, int64_t tile_rows) {
    const int64_t width = 2 * a.reach + 1, at = blockIdx.x * int64_t{256} + threadIdx.x;
    if (at >= width * a.heads) return;
    const int64_t head = at / width, distance = at % width;
    float total = g.dby_distance[distance * a.heads + head];
    for (int64_t s = 0; s < a.sequences; ++s) {
        const int64_t used = (a.q_borders[s + 1] - a.q_borders[s] + tile_rows - 1) / tile_rows;
        float sum = 0;
        for (int64_t tile = tiles - used; tile < tiles; ++tile)
            sum += g.parts[((s * a.heads + head) * tiles + tile) * width + distance];
        total += sum;
    }
    g.dby_distance[distance * a.heads + head] = total;
}

template <class Tile, bool kBias>
constexpr size_t dkv_shared() {  // k, v, q, dy, p, ds, log-sum-exp, delta, bias by distance, gates
    return sizeof(float) * (Tile::kHead * 2 * (Tile::Rows + Tile::Cols) + 2 * Tile::kScores * Tile::Rows +
                            2 * Tile::Cols + (kBias ? Tile::Rows + 2 * Tile::Cols : 0));
}

/// Rows are keys here, columns are queries.
template <class Tile, bool kBias>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    dkv_kernel(DeviceAttention a, DeviceAttentionGradients g, int64_t tiles, bool q_vectors, bool k_vectors,
               bool v_vectors, bool dy_vectors) {
    constexpr int RT = Tile::RT, CT = Tile::CT;
    WAVLLM_DYNAMIC_SHARED(float, shared);
    float *k = shared, *v = k + Tile::kHead * Tile::Rows, *q = v + Tile::kHead * Tile::Rows,
          *dy = q + Tile::kHead * Tile::Cols, *probabilities = dy + Tile::kHead * Tile::Cols,
          *scores = probabilities + Tile::kScores * Tile::Rows, *lse = scores + Tile::kScores * Tile::Rows,
          *delta = lse + Tile::Cols;
    [[maybe_unused]] float *distances = delta + Tile::Cols, *gates = distances + Tile::Rows + Tile::Cols;
    const auto item = AttentionItem::of(blockIdx.x, a.kv_heads, tiles);
    const auto sequence = AttentionSequence::of(a, item.sequence);
    const int64_t j = item.tile * Tile::Rows;  // the first tiles are seen by the most queries
    const int64_t rows = min(static_cast<int64_t>(Tile::Rows), sequence.keys - j);
    if (rows <= 0) return;
    const int64_t row0 = sequence.k0 + j, group = a.heads / a.kv_heads, width = a.heads * a.dh;
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    load_heads<Tile, Tile::Rows>(k, a.k.p + row0 * a.k.row + item.head * a.k.head, a.k.row, rows, a.dh, 1.0f,
                                 k_vectors);
    load_heads<Tile, Tile::Rows>(v, a.v.p + row0 * a.v.row + item.head * a.v.head, a.v.row, rows, a.dh, 1.0f,
                                 v_vectors);

    float dk[RT][Tile::Chunks][4], dv[RT][Tile::Chunks][4];
    set_zero<Tile>(dk);
    set_zero<Tile>(dv);
    for (int64_t head = item.head * group; head < (item.head + 1) * group; ++head)
        for (int64_t i = sequence.first_query(j); i < sequence.queries; i += Tile::Cols) {
            const int64_t queries = min(static_cast<int64_t>(Tile::Cols), sequence.queries - i), row = sequence.q0 + i;
            __syncthreads();
            load_heads<Tile, Tile::Cols>(q, a.q.p + row * a.q.row + head * a.q.head, a.q.row, queries, a.dh,
                                         a.scale * kAttentionLog2E, q_vectors);
            load_heads<Tile, Tile::Cols>(dy, g.dy + row * width + head * a.dh, width, queries, a.dh, 1.0f, dy_vectors);
            if (threadIdx.x < Tile::Cols) {
                const bool real = threadIdx.x < queries;
                const int64_t at = (row + threadIdx.x) * a.heads + head;
                lse[threadIdx.x] = real ? g.log_sum_exp[at] : 0.0f;
                delta[threadIdx.x] = real ? g.delta[at] : 0.0f;
                if constexpr (kBias) gates[threadIdx.x] = real ? a.gate[at] * kAttentionLog2E : 0.0f;
            }
            if constexpr (kBias) load_distances<Tile>(distances, a, head, j - i - (Tile::Cols - 1));
            __syncthreads();
            float p[RT][CT], ds[RT][CT];
            dot_products<Tile>(k, q, a.dh, p);
            dot_products<Tile>(v, dy, a.dh, ds);
            if constexpr (kBias) {
#pragma unroll
                for (int r = 0; r < RT; ++r)
#pragma unroll
                    for (int c = 0; c < CT; ++c)
                        p[r][c] =
                            fmaf(gates[tx + 16 * c], distances[ty * RT + r - (tx + 16 * c) + Tile::Cols - 1], p[r][c]);
            }
#pragma unroll
            for (int c = 0; c < CT; ++c) {
                const int column = tx + 16 * c;
                const int visible = column < queries ? sequence.visible_after(i + column, j, Tile::Rows) : 0;
#pragma unroll
                for (int r = 0; r < RT; ++r) {
                    const bool sees = ty * RT + r < visible;
                    p[r][c] = sees ? exp2f(p[r][c] - lse[column]) : 0.0f;
                    ds[r][c] = sees ? p[r][c] * (ds[r][c] - delta[column]) : 0.0f;
                }
            }
            put_scores<Tile>(probabilities, p);
            put_scores<Tile>(scores, ds);
            __syncwarp();
            add_product<Tile>(probabilities, dy, static_cast<int>(queries), a.dh, dv);
            add_product<Tile>(scores, q, static_cast<int>(queries), a.dh, dk);
        }
#pragma unroll
    for (int r = 0; r < RT; ++r)
        if (const int64_t row = ty * RT + r; row < rows) {
            const int64_t at = ((row0 + row) * a.kv_heads + item.head) * a.dh;
            store_head<Tile>(g.dk + at, dk[r], a.dh, kAttentionLn2);  // q was scaled by log2 e too
            store_head<Tile>(g.dv + at, dv[r], a.dh, 1.0f);
        }
}

template <class Tile, bool kBias>
void launch_backward(const DeviceAttention& a, const DeviceAttentionGradients& g) {
    static_assert(Tile::Rows == attention_dq_rows(Tile::Dh));
    static_assert(dq_shared<Tile, kBias>() <= kMostShared && dkv_shared<Tile, kBias>() <= kMostShared);
    const int64_t tiles = (a.longest_q + Tile::Rows - 1) / Tile::Rows;
    const bool vectors[] = {in_vectors(a.q, a.dh), in_vectors(a.k, a.dh), in_vectors(a.v, a.dh),
                            in_vectors({g.dy, a.heads * a.dh, a.dh}, a.dh)};
    if ((g.dq != nullptr || g.dgate != nullptr || g.parts != nullptr) && a.longest_q > 0)
        launch(dq_kernel<Tile, kBias>,
               {.grid = attention_blocks(a, a.heads, a.longest_q, Tile::Rows),
                .block = Tile::kThreads,
                .shared_bytes = dq_shared<Tile, kBias>(),
                .name = kBias ? "attention backward of q and a gated bias" : "attention backward of q"},
               a, g, tiles, vectors[0], vectors[1], vectors[2], vectors[3]);
    if (g.parts != nullptr && a.longest_q > 0)
        launch(sum_distances_kernel,
               {.grid = dim3(static_cast<unsigned>(((2 * a.reach + 1) * a.heads + 255) / 256)),
                .block = 256,
                .name = "attention backward of the bias"},
               a, g, tiles, static_cast<int64_t>(Tile::Rows));
    if (g.dk != nullptr && a.longest_k > 0)
        launch(dkv_kernel<Tile, kBias>,
               {.grid = attention_blocks(a, a.kv_heads, a.longest_k, Tile::Rows),
                .block = Tile::kThreads,
                .shared_bytes = dkv_shared<Tile, kBias>(),
                .name = kBias ? "attention backward of k and v with a gated bias" : "attention backward of k and v"},
               a, g, (a.longest_k + Tile::Rows - 1) / Tile::Rows, vectors[0], vectors[1], vectors[2], vectors[3]);
}

template <class Tile>
void backward_with(const DeviceAttention& a, const DeviceAttentionGradients& g) {
    if (a.gate != nullptr)
        launch_backward<Tile, true>(a, g);
    else
        launch_backward<Tile, false>(a, g);
}

void backward(const DeviceAttention& a, const DeviceAttentionGradients& g) {
    row_deltas(a, g);
    if (a.dh <= 64)
        backward_with<AttentionTile<64, 64, 32>>(a, g);
    else if (a.dh <= 128)
        backward_with<AttentionTile<128, 32, 32>>(a, g);
    else
        backward_with<AttentionTile<256, 16, 16>>(a, g);
}

WAVLLM_CUDA_BODY(attention_backward_body, backward);

}  // namespace

}  // namespace wavllm::kernels
