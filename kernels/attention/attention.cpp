#include "kernels/attention/attention.h"

#include <cmath>
#include <limits>

#include "kernels/attention/attention_bf16.h"
#include "kernels/attention/attention_f64.h"
#include "kernels/attention/distance_bias.h"
#include "kernels/attention/on_device.h"
#include "kernels/attention/tile.h"
#include "kernels/common/check.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

using namespace attention_tile;

namespace {

void expect_heads(std::string_view op, std::string_view argument, const Tensor& t, DType dtype, Device device) {
    if (!t.defined() || t.rank() != 3)
        throw ShapeError("{}: {} must be [rows, heads, head dimension], but is {}", op, argument,
                         t.defined() ? t.describe() : "an undefined tensor");
    if (t.dtype() != dtype) throw DTypeError("{}: {} must be {}, but is {}", op, argument, name(dtype), t.describe());
    if (t.device() != device)
        throw Error("{}: {} is {}, but must be on {} as q; see Tensor::to", op, argument, t.describe(), name(device));
    if (t.dim(2) > 1 && t.stride(2) != 1)
        throw ShapeError("{}: the head dimension of {} must be contiguous, but it is {}", op, argument, t.describe());
}

}  // namespace

detail::AttentionSizes detail::attention_sizes(std::string_view op, const Tensor& q, const Tensor& k, const Tensor& v,
                                               const AttentionLayout& layout) {
    const DType dtype = f64::runs(q) ? DType::f64 : DType::f32;
    for (const auto& [argument, t] : {std::pair{"q", &q}, {"k", &k}, {"v", &v}})
        expect_heads(op, argument, *t, dtype, q.device());
    if (!(k.shape() == v.shape()) || k.dim(2) != q.dim(2) || k.dim(1) < 1 || q.dim(1) % k.dim(1) != 0)
        throw ShapeError(
            "{}: q is {}, k {}, v {}; k and v must have one shape, the head dimension of q, and a number "
            "of heads that divides q's",
            op, q.describe(), k.describe(), v.describe());
    if (q.dim(2) < 1 || q.dim(2) > kMaxHead)
        throw ShapeError("{}: the head dimension must be 1 to {}, but q is {}", op, kMaxHead, q.describe());
    const AttentionSizes sizes{.heads = q.dim(1),
                               .kv_heads = k.dim(1),
                               .dh = q.dim(2),
                               .padded = round_up(q.dim(2), kLanes),
                               .q_borders = borders_of(op, layout.q_borders, q.dim(0)),
                               .k_borders = borders_of(op, layout.k_borders, k.dim(0)),
                               .causal = layout.mask == AttentionMask::causal};
    if (sizes.q_borders.size() != sizes.k_borders.size())
        throw ShapeError("{}: q has {} sequences, k and v have {}", op, sizes.q_borders.size() - 1,
                         sizes.k_borders.size() - 1);
    return sizes;
}

void detail::check_attention_bias(std::string_view op, const AttentionBias& bias, const Tensor& q,
                                  const AttentionLayout& layout) {
    if (!bias.defined()) return;
    expect(op, "gate", bias.gate, {q.dim(0), q.dim(1)}, q.dtype(), q.device());
    expect(op, "by_distance", bias.by_distance, q.dtype(), q.device());
    if (bias.by_distance.rank() != 2 || bias.by_distance.dim(0) % 2 == 0 || bias.by_distance.dim(1) != q.dim(1))
        throw ShapeError("{}: by_distance must be [2 R + 1, {}] for q {}, but is {}", op, q.dim(1), q.describe(),
                         bias.by_distance.describe());
    if (layout.products != DType::f32 && !f64::runs(q))
        throw DTypeError("{}: with a bias products are in f32, but {} was asked for", op, name(layout.products));
}

namespace {

/// Keys and values of every (sequence, kv head), packed once for all query tiles: blocks of kBlock keys, each k
/// transposed [Dh, kBlock] and then v [kBlock, padded].
struct Packed {
    Packed(const Tensor& k, const Tensor& v, const detail::AttentionSizes& sizes)
        : z(sizes),
          block_floats(kBlock * (sizes.dh + sizes.padded)),
          blocks(k.dim(0) / kBlock + sizes.sequences()),
          memory(workspace({sizes.kv_heads, blocks, block_floats})) {
        p = memory.mutable_data<float>();
        parallel_for(z.sequences() * z.kv_heads, 1, [&](int64_t begin, int64_t end) {
            for (int64_t item = begin; item < end; ++item) pack(k, v, item / z.kv_heads, item % z.kv_heads);
        });
    }

    /// Block b of a sequence. A sequence has at most (end/kBlock - begin/kBlock + 1) blocks: they fit without overlap.
    float* block(int64_t sequence, int64_t kv_head, int64_t b) const {
        const int64_t first = z.k_begin(sequence) / kBlock + sequence;
        return p + (kv_head * blocks + first + b) * block_floats;
    }

    void pack(const Tensor& k, const Tensor& v, int64_t sequence, int64_t kv_head) {
        for (int64_t j = 0; j < z.keys(sequence); j += kBlock) {
            const int64_t rows = std::min(kBlock, z.keys(sequence) - j), row = z.k_begin(sequence) + j;
            float* to = block(sequence, kv_head, j / kBlock);
            pack_transposed(head_rows(k, row, kv_head), rows, z.dh, to);
            pack_rows(head_rows(v, row, kv_head), rows, kBlock, z.dh, z.padded, 1.0f, to + kBlock * z.dh);
        }
    }

    detail::AttentionSizes z;
    int64_t block_floats, blocks;
    Tensor memory;
    float* p = nullptr;
};

/// What is known of kBlock query rows so far. Scores are in units of log 2 (q was scaled by log2 e on packing).
struct QueryTile {
    alignas(64) float q[kBlock * kMaxHead];
    alignas(64) float y[kBlock * kMaxHead];    // sum of p v, not yet divided
    alignas(64) float total[kBlock * kLanes];  // sum of p, lane by lane
    alignas(64) float maximum[kBlock];
    float gate[kBlock];           // of the bias
    const float* bias = nullptr;  // of this head, by key minus query; null: none
};

// Finite, so that (lowest - lowest) is 0 where a row has seen nothing yet.
constexpr float kLowest = -1e30f;

/// scores [kRows, kBlock] become probabilities relative to the new running maximum; factor[r] is what the sums so far
/// must be multiplied with. visible[r]: keys of this block that row r sees (more than there are: all).
void softmax_step(float* scores, int64_t vectors, const int64_t* visible, bool masked, float* maximum, float* total,
                  float* factor) {
    vf before = broadcast(kLowest), after = before;
    for (int r = 0; r < kRows; ++r) {
        vf top = broadcast(maximum[r]);
        for (int64_t n = 0; n < vectors; ++n) {
            vf s = load(scores + r * kBlock + n * kLanes);
            if (masked) s = first_lanes(s, visible[r] - n * kLanes, broadcast(kLowest));
            top = vmax(s, top);
        }
        before[r] = maximum[r];
        after[r] = maximum[r] = max_lane(top);
    }
    const vf change = exp2(before - after);
    for (int r = 0; r < kRows; ++r) {
        factor[r] = change[r];
        const vf top = broadcast(maximum[r]);
        vf sums = load(total + r * kLanes) * broadcast(factor[r]);
        for (int64_t n = 0; n < vectors; ++n) {
            float* s = scores + r * kBlock + n * kLanes;
            vf p = exp2(load(s) - top);
            if (masked) p = first_lanes(p, visible[r] - n * kLanes, vf{});
            store(s, p);
            sums = sums + p;
        }
        store(total + r * kLanes, sums);
    }
}

/// Rows of scores from query i on, against the keys from j on, get their bias.
void add_bias(float* scores, int64_t vectors, const float* gate, const float* bias, int64_t i, int64_t j) {
    for (int64_t r = 0; r < kRows; ++r)
        for (int64_t n = 0; n < vectors * kLanes; n += kLanes) {
            float* s = scores + r * kBlock + n;
            store(s, fma(broadcast(gate[r]), load(bias + j + n - i - r), load(s)));
        }
}

/// All keys of a sequence past one tile of its queries.
void attend(QueryTile& tile, const Packed& packed, int64_t sequence, int64_t head, int64_t first, int64_t rows) {
    const detail::AttentionSizes& z = packed.z;
    alignas(64) float scores[kRows * kBlock];
    float factor[kRows];
    const int64_t tile_keys = z.visible(sequence, first + rows - 1), vectors = z.padded / kLanes;
    for (int64_t j = 0; j < tile_keys; j += kBlock) {
        const float* k = packed.block(sequence, z.kv_head(head), j / kBlock);
        const float* v = k + kBlock * z.dh;
        for (int64_t r = 0; r < rows; r += kRows) {
            int64_t visible[kRows];
            bool masked = false;
            for (int i = 0; i < kRows; ++i) {
                visible[i] = z.visible(sequence, std::min(first + r + i, first + rows - 1)) - j;
                masked |= visible[i] < kBlock;
            }
            // Keys that none of these rows sees would add exact zeros: they are left out.
            const int64_t keys = std::min(kBlock, visible[kRows - 1]), key_vectors = round_up(keys, kLanes) / kLanes;
            if (keys <= 0) continue;
            row_product<Start::overwrite>({tile.q + r * z.padded, z.padded, 1}, k, kBlock, z.dh, scores, kBlock,
                                          key_vectors);
            if (tile.bias) add_bias(scores, key_vectors, tile.gate + r, tile.bias, first + r, j);
            softmax_step(scores, key_vectors, visible, masked, tile.maximum + r, tile.total + r * kLanes, factor);
            row_product<Start::scale>({scores, kBlock, 1}, v, z.padded, keys, tile.y + r * z.padded, z.padded, vectors,
                                      factor);
        }
    }
}

}  // namespace

AttentionForward attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout,
                           const AttentionBias& bias) {
    const detail::AttentionSizes z = detail::attention_sizes("attention", q, k, v, layout);
    detail::check_attention_bias("attention", bias, q, layout);
    if (f64::runs(q)) return f64::attention(q, k, v, layout, bias);  // where nothing is rounded to layout.products
    if (layout.products != DType::f32 && layout.products != DType::bf16)
        throw DTypeError("attention: products can be in f32 or bf16, but not in {}", name(layout.products));
    if (q.device() != Device::cpu) return detail::attention_on_device(q, k, v, layout, bias, z);
    if (layout.products == DType::bf16) return attention_bf16(q, k, v, layout, z);
    AttentionForward result{Tensor::empty({q.dim(0), z.heads * z.dh}), Tensor::empty({q.dim(0), z.heads})};
    float *py = result.y.mutable_data<float>(), *plse = result.log_sum_exp.mutable_data<float>();
    const Packed packed(k, v, z);
    const DistanceBias by_distance(bias, z);
    const float* gate = bias.defined() ? bias.gate.data<float>() : nullptr;
    int64_t longest = 0;
    for (int64_t s = 0; s < z.sequences(); ++s) longest = std::max(longest, z.queries(s));
    const int64_t tiles = round_up(longest, kBlock) / kBlock;
    // One item is a tile of one head of one sequence; short sequences have fewer than `tiles`.
    parallel_for(z.sequences() * z.heads * tiles, 1, [&](int64_t begin, int64_t end) {
        QueryTile tile;
        for (int64_t item = begin; item < end; ++item) {
            const int64_t sequence = item / (z.heads * tiles), head = item / tiles % z.heads,
                          first = item % tiles * kBlock, rows = std::min(kBlock, z.queries(sequence) - first),
                          row = z.q_begin(sequence) + first;
            if (rows <= 0) continue;
            const int64_t padded_rows = round_up(rows, kRows);
            pack_rows(head_rows(q, row, head), rows, padded_rows, z.dh, z.padded,
                      static_cast<float>(layout.scale) * kLog2E, tile.q);
            std::fill(tile.y, tile.y + padded_rows * z.padded, 0.0f);
            std::fill(tile.total, tile.total + padded_rows * kLanes, 0.0f);
            std::fill(tile.maximum, tile.maximum + padded_rows, kLowest);
            tile.bias = by_distance.head(head);
            for (int64_t i = 0; gate && i < padded_rows; ++i)
                tile.gate[i] = i < rows ? gate[(row + i) * z.heads + head] : 0.0f;
            attend(tile, packed, sequence, head, first, rows);
            for (int64_t i = 0; i < rows; ++i) {
                const float total = sum(load(tile.total + i * kLanes));
                const bool any = z.visible(sequence, first + i) > 0;
                const vf inverse = broadcast(any ? 1.0f / total : 0.0f);
                plse[(row + i) * z.heads + head] =
                    any ? tile.maximum[i] + std::log2(total) : -std::numeric_limits<float>::infinity();
                float* yr = py + ((row + i) * z.heads + head) * z.dh;
                for_lanes(z.dh,
                          [&](int64_t d, auto n) { store(yr + d, load(tile.y + i * z.padded + d) * inverse, n); });
            }
        }
    });
    return result;
}

}  // namespace wavllm::kernels
