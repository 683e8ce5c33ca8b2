// Backward of attention with products in bf16. One item is one head of one sequence: key blocks outside, query tiles
// inside. dk and dv are made as their transposes: p and ds are then the right factors, whose pairs along the queries
// are two neighbouring rows, and no tile of them is turned.

#include <utility>

#include "kernels/attention/attention_bf16.h"
#include "kernels/attention/tile.h"
#include "kernels/common/check.h"
#include "kernels/gemm/bf16_tile.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

using namespace attention_tile;

namespace {

constexpr int64_t kTileRows = kBf16TileRows;
constexpr int64_t kGroups = 4;                     // of kTileRows queries in a tile
constexpr int64_t kQueries = kGroups * kTileRows;  // even: pairs along the queries do not cross tiles
constexpr int64_t kKeys = 256;                     // keys of a block
constexpr int64_t kPairs = kQueries / 2;           // of a tile, along the queries
constexpr int64_t kPairRow = 2 * kPanel;

/// The memory of one item, cut from one workspace tensor. Sizes in elements of their type.
struct Scratch {
    Scratch(int64_t queries, int64_t keys, int64_t dh)
        : row_stride(bf16_stride(dh)),
          turned_stride(bf16_stride(queries)),
          width(round_up(dh, kPanel)),
          key_width(round_up(keys, kPanel)),
          memory(workspace({queries * (row_stride + width + 2) + dh * (turned_stride + 2 * key_width) +
                            key_width * (round_up(dh, 2) + width / 2) + 64})),
          next(memory.mutable_data<float>()),
          q(halves(queries * row_stride)),
          dy(halves(queries * row_stride)),
          q_turned(halves(dh * turned_stride)),
          dy_turned(halves(dh * turned_stride)),
          kt(halves(key_width * round_up(dh, 2))),
          vt(halves(key_width * round_up(dh, 2))),
          k(halves(key_width * width)),
          dq(floats(queries * width)),
          dk(floats(dh * key_width)),
          dv(floats(dh * key_width)),
          log_sum_exp(floats(queries)),
          delta(floats(queries)) {}

    float* floats(int64_t n) {
        return std::exchange(next, next + n);
    }
    bf16* halves(int64_t n) {
        return reinterpret_cast<bf16*>(floats(n / 2));
    }

    int64_t row_stride, turned_stride, width, key_width;
    Tensor memory;
    float* next;
    bf16 *q, *dy;                // [queries, dh], pairs along dh; q is scaled by scale * log2 e
    bf16 *q_turned, *dy_turned;  // [dh, queries], pairs along the queries
    bf16 *kt, *vt, *k;           // panels: [keys / 32][dh / 2], and k [dh / 32][keys / 2]
    float *dq, *dk, *dv;         // [queries, dh] and transposed [dh, keys], rows padded to whole panels
    float *log_sum_exp, *delta;
};

/// Rows of x times factor, in pairs along dh and turned, in pairs along the rows.
void pack_both(HeadRows x, int64_t rows, int64_t dh, float factor, bf16* to, int64_t stride, bf16* turned,
               int64_t turned_stride) {
    alignas(64) float pair[2][kMaxHead];
    alignas(64) bf16 strip[kPairRow];
    const auto& kernels = bf16_kernels();
    for (int64_t i = 0; i < rows; i += 2) {
        const int64_t count = std::min<int64_t>(2, rows - i);
        for (int64_t r = 0; r < count; ++r) {
            pack_rows({x.p + (i + r) * x.row, 0}, 1, 1, dh, round_up(dh, kLanes), factor, pair[r]);
            kernels.row(pair[r], dh, to + (i + r) * stride);
        }
        for (int64_t d = 0; d < dh; d += kPanel) {
            const int64_t columns = std::min(kPanel, dh - d);
            kernels.row_pair(pair[0] + d, count == 2 ? pair[1] + d : nullptr, columns, strip);
            for (int64_t c = 0; c < columns; ++c)
                std::memcpy(turned + (d + c) * turned_stride + i, strip + 2 * c, 2 * sizeof(bf16));
        }
    }
}

/// Panels of rows of x: [rows / 32][dh / 2] pairs along dh, and if wanted [dh / 32][rows / 2] pairs along the rows.
void pack_keys(HeadRows x, int64_t rows, int64_t dh, bf16* transposed, bf16* columns) {
    for (int64_t j = 0; j < rows; j += kPanel)
        pack_bf16_panel(x.p + j * x.row, x.row, dh, std::min(kPanel, rows - j), transposed + j * round_up(dh, 2));
    if (!columns) return;
    for (int64_t d = 0; d < dh; d += kPanel)
        for (int64_t j = 0; j < rows; j += 2, columns += kPairRow) {
            const float* even = x.p + j * x.row + d;
            bf16_kernels().row_pair(even, j + 1 < rows ? even + x.row : nullptr, std::min(kPanel, dh - d), columns);
        }
}

struct Item {
    const detail::AttentionSizes& z;
    Scratch& s;
    int64_t sequence;
    bool want_dq, want_dkv;

    /// c [rows, 32] (= or +=) left * panel.
    static void multiply(int64_t rows, const bf16* left, int64_t stride, const bf16* panel, int64_t pairs, float* c,
                         int64_t c_stride, bool from_c) {
        bf16_kernels().tile(rows, {.left = {left, stride},
                                   .panel = panel,
                                   .pairs = pairs,
                                   .c = c,
                                   .c_stride = c_stride,
                                   .columns = kPanel,
                                   .from_c = from_c,
                                   .last = nullptr});
    }

    /// Scores and dy.v of row i become p and ds, exact zeros where the row does not see a key. n: a multiple of 32.
    void probabilities(float* p, float* ds, int64_t i, int64_t j, int64_t n) const {
        const vf lse = broadcast(s.log_sum_exp[i]), delta = broadcast(s.delta[i]);
        const int64_t visible = z.visible(sequence, i) - j;
        for (int64_t c = 0; c < n; c += kLanes) {
            vf pn = exp2(load(p + c) - lse), dsn = pn * (load(ds + c) - delta);
            if (visible < c + kLanes) {
                pn = first_lanes(pn, visible - c, vf{});
                dsn = first_lanes(dsn, visible - c, vf{});
            }
            store(p + c, pn);
            store(ds + c, dsn);
        }
    }

    /// The tile of queries from row `first` against the block from key j.
    void tile(int64_t first, int64_t j) const {
        const int64_t rows = std::min(kQueries, z.queries(sequence) - first), dh = z.dh, depth = round_up(dh, 2);
        alignas(64) float p[kTileRows * kKeys], ds[kTileRows * kKeys];
        alignas(64) bf16 p_panels[kKeys * kQueries], ds_panels[kKeys * kQueries];  // [keys / 32][kPairs][32][2]
        alignas(64) bf16 ds_rows[kTileRows * kKeys];
        int64_t padded[kGroups];  // keys that a group of rows sees, up to whole panels
        for (int64_t r = 0, g = 0; r < rows; r += kTileRows, ++g) {
            const int64_t count = std::min(kTileRows, rows - r), i = first + r;
            const int64_t seen = std::min(kKeys, z.visible(sequence, i + count - 1) - j);
            padded[g] = seen <= 0 ? 0 : round_up(seen, kPanel);
            for (int64_t n = 0; n < padded[g]; n += kPanel) {
                multiply(count, s.q + i * s.row_stride, s.row_stride, s.kt + (j + n) * depth, depth / 2, p + n, kKeys,
                         false);
                multiply(count, s.dy + i * s.row_stride, s.row_stride, s.vt + (j + n) * depth, depth / 2, ds + n, kKeys,
                         false);
            }
            for (int64_t row = 0; row < count; ++row) {
                probabilities(p + row * kKeys, ds + row * kKeys, i + row, j, padded[g]);
                if (want_dq && padded[g] > 0) pack_bf16_row(ds + row * kKeys, padded[g], ds_rows + row * kKeys);
            }
            if (want_dq && padded[g] > 0)
                for (int64_t d = 0; d < s.width; d += kPanel)
                    multiply(count, ds_rows, kKeys,
                             s.k + d / kPanel * round_up(z.keys(sequence), 2) * kPanel + j * kPanel,
                             round_up(seen, 2) / 2, s.dq + i * s.width + d, s.width, true);
            if (!want_dkv) continue;
            for (int64_t row = 0; row < count; row += 2)
                for (int64_t n = 0; n < padded[g]; n += kPanel) {
                    const int64_t at = (n / kPanel * kPairs + (r + row) / 2) * kPairRow;
                    const bool both = row + 1 < count;
                    const float *pr = p + row * kKeys + n, *dsr = ds + row * kKeys + n;
                    bf16_kernels().row_pair(pr, both ? pr + kKeys : nullptr, kPanel, p_panels + at);
                    bf16_kernels().row_pair(dsr, both ? dsr + kKeys : nullptr, kPanel, ds_panels + at);
                }
        }
        if (!want_dkv) return;
        for (int64_t n = 0; n < kKeys && j + n < z.keys(sequence); n += kPanel) {
            // Under a causal mask the first groups may see nothing of the panel; they would add exact zeros.
            int64_t g = 0;
            while (g * kTileRows < rows && padded[g] <= n) ++g;
            const int64_t from = g * kTileRows / 2, pairs = (rows + 1) / 2 - from;
            if (pairs <= 0) continue;
            const int64_t at = (n / kPanel * kPairs + from) * kPairRow, query = first + 2 * from;
            for (int64_t d = 0; d < dh; d += kTileRows) {
                const int64_t count = std::min(kTileRows, dh - d), c = d * s.key_width + j + n;
                multiply(count, s.dy_turned + d * s.turned_stride + query, s.turned_stride, p_panels + at, pairs,
                         s.dv + c, s.key_width, true);
                multiply(count, s.q_turned + d * s.turned_stride + query, s.turned_stride, ds_panels + at, pairs,
                         s.dk + c, s.key_width, true);
            }
        }
    }
};

float row_dot(const float* a, const float* b, int64_t n) {
    vf sums{};
    for_lanes(n, [&](int64_t i, auto lanes) { sums = fma(load(a + i, lanes), load(b + i, lanes), sums); });
    return sum(sums);
}

}  // namespace

void attention_backward_bf16(const AttentionBackwardItem& a, const detail::AttentionSizes& z) {
    const int64_t queries = z.queries(a.sequence), keys = z.keys(a.sequence), width = z.heads * z.dh;
    Scratch s(queries, keys, z.dh);
    pack_both(a.q, queries, z.dh, a.scale * kLog2E, s.q, s.row_stride, s.q_turned, s.turned_stride);
    pack_both(a.dy, queries, z.dh, 1.0f, s.dy, s.row_stride, s.dy_turned, s.turned_stride);
    pack_keys(a.k, keys, z.dh, s.kt, s.k);
    pack_keys(a.v, keys, z.dh, s.vt, nullptr);
    for (int64_t i = 0; i < queries; ++i) {
        s.log_sum_exp[i] = a.log_sum_exp[i * z.heads];
        s.delta[i] = row_dot(a.dy.p + i * a.dy.row, a.y.p + i * a.y.row, z.dh);
    }
    if (a.dq) std::fill(s.dq, s.dq + queries * s.width, 0.0f);
    if (a.dk) std::fill(s.dk, s.dk + z.dh * s.key_width, 0.0f);
    if (a.dk) std::fill(s.dv, s.dv + z.dh * s.key_width, 0.0f);
    const Item item{z, s, a.sequence, a.dq != nullptr, a.dk != nullptr};
    for (int64_t j = 0; j < keys; j += kKeys)
        for (int64_t i = 0; i < queries; i += kQueries) item.tile(i, j);
    for (int64_t i = 0; a.dq && i < queries; ++i)
        for_lanes(z.dh, [&](int64_t d, auto n) {
            store(a.dq + i * width + d, load(s.dq + i * s.width + d) * broadcast(a.scale), n);
        });
    // s.q holds scale * log2 e * q, so its product with ds lacks only ln 2
    for (int64_t j = 0; a.dk && j < keys; ++j)
        for (int64_t d = 0; d < z.dh; ++d) {
            a.dk[j * width + d] = s.dk[d * s.key_width + j] * kLn2;
            a.dv[j * width + d] = s.dv[d * s.key_width + j];
        }
}

}  // namespace wavllm::kernels
