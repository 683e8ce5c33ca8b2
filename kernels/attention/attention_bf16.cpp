#include "kernels/attention/attention_bf16.h"

#include <cmath>
#include <limits>

#include "kernels/attention/tile.h"
#include "kernels/common/check.h"
#include "kernels/gemm/bf16_tile.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

using namespace attention_tile;

namespace {

constexpr int64_t kTileRows = kBf16TileRows;  // queries that pass over a block of keys together
constexpr int64_t kQueries = 4 * kTileRows;   // queries of one item of work
constexpr int64_t kKeys = 256;                // keys of a block: 14 KB of scores
constexpr float kLowest = -1e30f;             // finite, so that (lowest - lowest) is 0 where a row has seen nothing yet

/// Keys and values of every (sequence, kv head), in panels of pairs: k transposed, [keys / 32][Dh / 2][32][2], and
/// v, [Dh / 32][keys / 2][32][2].
class PackedKeys {
public:
    PackedKeys(const Tensor& k, const Tensor& v, const detail::AttentionSizes& sizes)
        : z_(sizes),
          depth_(round_up(sizes.dh, 2)),
          width_(round_up(sizes.dh, kPanel)),
          rows_(round_up(k.dim(0), kPanel) + kPanel * sizes.sequences()),
          memory_(workspace({sizes.kv_heads, rows_, (depth_ + width_) / 2})),
          data_(static_cast<bf16*>(memory_.mutable_raw())) {
        parallel_for(z_.sequences() * z_.kv_heads, 1, [&](int64_t begin, int64_t end) {
            for (int64_t item = begin; item < end; ++item) pack(k, v, item / z_.kv_heads, item % z_.kv_heads);
        });
    }

    const bf16* keys(int64_t sequence, int64_t kv_head) const {
        const int64_t first = z_.k_begin(sequence) / kPanel * kPanel + kPanel * sequence;
        return data_ + (kv_head * rows_ + first) * (depth_ + width_);
    }
    const bf16* values(int64_t sequence, int64_t kv_head) const {
        return keys(sequence, kv_head) + round_up(z_.keys(sequence), kPanel) * depth_;
    }
    /// From one panel of k (of v) to the next, in elements.
    int64_t key_panel() const {
        return kPanel * depth_;
    }
    int64_t value_panel(int64_t sequence) const {
        return kPanel * round_up(z_.keys(sequence), 2);
    }
    int64_t depth() const {
        return depth_;
    }

private:
    void pack(const Tensor& k, const Tensor& v, int64_t sequence, int64_t kv_head) const {
        const int64_t n = z_.keys(sequence);
        const HeadRows kr = head_rows(k, z_.k_begin(sequence), kv_head),
                       vr = head_rows(v, z_.k_begin(sequence), kv_head);
        auto* to = const_cast<bf16*>(keys(sequence, kv_head));
        for (int64_t j = 0; j < n; j += kPanel)
            pack_bf16_panel(kr.p + j * kr.row, kr.row, z_.dh, std::min(kPanel, n - j), to + j * depth_);
        to = const_cast<bf16*>(values(sequence, kv_head));
        const auto row_pair = bf16_kernels().row_pair;
        for (int64_t d = 0; d < z_.dh; d += kPanel)
            for (int64_t j = 0; j < n; j += 2, to += 2 * kPanel) {
                const float* even = vr.p + j * vr.row + d;
                row_pair(even, j + 1 < n ? even + vr.row : nullptr, std::min(kPanel, z_.dh - d), to);
            }
    }

    const detail::AttentionSizes& z_;
    int64_t depth_, width_, rows_;
    Tensor memory_;
    bf16* data_;
};

/// What is known of kQueries query rows so far. Scores are in units of log 2 (q was scaled by log2 e on packing).
struct QueryTile {
    alignas(64) bf16 q[kQueries * kMaxHead];
    alignas(64) float y[kQueries * kMaxHead];    // sum of p v, not yet divided
    alignas(64) float total[kQueries * kLanes];  // sum of p, lane by lane
    alignas(64) float maximum[kQueries];
    alignas(64) float scores[kTileRows * kKeys];
    alignas(64) bf16 p[kTileRows * kKeys];
};

/// One row of scores becomes probabilities relative to the new running maximum, in bf16. visible: keys that the row
/// sees, of `n` (a multiple of 32). Returns what the sums so far must be multiplied with.
float softmax_row(float* scores, int64_t n, int64_t visible, float& maximum, float* total, bf16* p) {
    const bool masked = visible < n;
    vf top = broadcast(maximum);
    for (int64_t j = 0; j < n; j += kLanes) {
        vf s = load(scores + j);
        if (masked) s = first_lanes(s, visible - j, broadcast(kLowest));
        top = vmax(s, top);
    }
    const float before = maximum;
    maximum = max_lane(top);
    top = broadcast(maximum);
    const float factor = exp2(broadcast(before - maximum))[0];
    vf sums = load(total) * broadcast(factor);
    for (int64_t j = 0; j < n; j += kLanes) {
        vf e = exp2(load(scores + j) - top);
        if (masked) e = first_lanes(e, visible - j, vf{});
        store(scores + j, e);
        sums = sums + e;
    }
    store(total, sums);
    pack_bf16_row(scores, n, p);
    return factor;
}

/// All keys of a sequence past one tile of its queries.
void attend(QueryTile& t, const PackedKeys& packed, const detail::AttentionSizes& z, int64_t sequence, int64_t head,
            int64_t first, int64_t rows) {
    const auto multiply = bf16_kernels().tile;
    const bf16 *keys = packed.keys(sequence, z.kv_head(head)), *values = packed.values(sequence, z.kv_head(head));
    const int64_t q_stride = bf16_stride(z.dh), y_stride = round_up(z.dh, kPanel);
    for (int64_t j = 0; j < z.visible(sequence, first + rows - 1); j += kKeys)
        for (int64_t r = 0; r < rows; r += kTileRows) {
            const int64_t count = std::min(kTileRows, rows - r);
            // Keys that none of these rows sees would add exact zeros: they are left out.
            const int64_t seen = std::min(kKeys, z.visible(sequence, first + r + count - 1) - j);
            if (seen <= 0) continue;
            const int64_t padded = round_up(seen, kPanel);
            for (int64_t n = 0; n < padded; n += kPanel)
                multiply(count, {.left = {t.q + r * q_stride, q_stride},
                                 .panel = keys + (j + n) / kPanel * packed.key_panel(),
                                 .pairs = packed.depth() / 2,
                                 .c = t.scores + n,
                                 .c_stride = kKeys,
                                 .columns = kPanel,
                                 .from_c = false,
                                 .last = nullptr});
            for (int64_t i = r; i < r + count; ++i) {
                const float factor = softmax_row(t.scores + (i - r) * kKeys, padded, z.visible(sequence, first + i) - j,
                                                 t.maximum[i], t.total + i * kLanes, t.p + (i - r) * kKeys);
                if (factor == 1.0f) continue;
                for (int64_t d = 0; d < y_stride; d += kLanes)
                    store(t.y + i * y_stride + d, load(t.y + i * y_stride + d) * broadcast(factor));
            }
            for (int64_t d = 0; d < y_stride; d += kPanel)
                multiply(count, {.left = {t.p, kKeys},
                                 .panel = values + d / kPanel * packed.value_panel(sequence) + j * kPanel,
                                 .pairs = round_up(seen, 2) / 2,
                                 .c = t.y + r * y_stride + d,
                                 .c_stride = y_stride,
                                 .columns = kPanel,
                                 .from_c = true,
                                 .last = nullptr});
        }
}

}  // namespace

AttentionForward attention_bf16(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout,
                                const detail::AttentionSizes& z) {
    AttentionForward result{Tensor::empty({q.dim(0), z.heads * z.dh}), Tensor::empty({q.dim(0), z.heads})};
    float *py = result.y.mutable_data<float>(), *plse = result.log_sum_exp.mutable_data<float>();
    const PackedKeys packed(k, v, z);
    int64_t longest = 0;
    for (int64_t s = 0; s < z.sequences(); ++s) longest = std::max(longest, z.queries(s));
    const int64_t tiles = round_up(longest, kQueries) / kQueries, q_stride = bf16_stride(z.dh),
                  y_stride = round_up(z.dh, kPanel);
    // One item is a tile of one head of one sequence; short sequences have fewer than `tiles`.
    parallel_for(z.sequences() * z.heads * tiles, 1, [&](int64_t begin, int64_t end) {
        QueryTile tile;
        for (int64_t item = begin; item < end; ++item) {
            const int64_t sequence = item / (z.heads * tiles), head = item / tiles % z.heads,
                          first = item % tiles * kQueries, rows = std::min(kQueries, z.queries(sequence) - first),
                          row = z.q_begin(sequence) + first;
            if (rows <= 0) continue;
            alignas(64) float scaled[kMaxHead];
            const HeadRows from = head_rows(q, row, head);
            for (int64_t i = 0; i < rows; ++i) {
                pack_rows({from.p + i * from.row, 0}, 1, 1, z.dh, z.padded, static_cast<float>(layout.scale) * kLog2E,
                          scaled);
                pack_bf16_row(scaled, z.dh, tile.q + i * q_stride);
            }
            std::fill(tile.y, tile.y + rows * y_stride, 0.0f);
            std::fill(tile.total, tile.total + rows * kLanes, 0.0f);
            std::fill(tile.maximum, tile.maximum + rows, kLowest);
            attend(tile, packed, z, sequence, head, first, rows);
            for (int64_t i = 0; i < rows; ++i) {
                const float total = sum(load(tile.total + i * kLanes));
                const bool any = z.visible(sequence, first + i) > 0;
                const vf inverse = broadcast(any ? 1.0f / total : 0.0f);
                plse[(row + i) * z.heads + head] =
                    any ? tile.maximum[i] + std::log2(total) : -std::numeric_limits<float>::infinity();
                float* yr = py + ((row + i) * z.heads + head) * z.dh;
                for_lanes(z.dh,
                          [&](int64_t d, auto n) { store(yr + d, load(tile.y + i * y_stride + d) * inverse, n); });
            }
        }
    });
    return result;
}

}  // namespace wavllm::kernels
