// Backward of attention: one item is one head of one sequence. Key blocks outside, query tiles inside: dk and dv of a
// block stay in cache while all queries pass, and dq of a row grows in the order of the keys.

#include <optional>
#include <utility>

#include "kernels/attention/attention_bf16.h"
#include "kernels/attention/attention_f64.h"
#include "kernels/attention/distance_bias.h"
#include "kernels/attention/on_device.h"
#include "kernels/common/check.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

using namespace attention_tile;

namespace {

/// The scratch memory of one item, cut from one workspace tensor.
struct Scratch {
    Scratch(int64_t padded_rows, int64_t padded)
        : memory(workspace({padded_rows * (3 * padded + 2) + kBlock * (5 * padded + 2 * kBlock)})),
          next(memory.mutable_data<float>()),
          q(take(padded_rows * padded)),
          dy(take(padded_rows * padded)),
          dq(take(padded_rows * padded)),
          log_sum_exp(take(padded_rows)),
          delta(take(padded_rows)),
          kt(take(kBlock * padded)),
          vt(take(kBlock * padded)),
          k(take(kBlock * padded)),
          dk(take(kBlock * padded)),
          dv(take(kBlock * padded)),
          p(take(kBlock * kBlock)),
          ds(take(kBlock * kBlock)) {}

    float* take(int64_t n) {
        return std::exchange(next, next + n);
    }

    Tensor memory;
    float* next;
    float *q, *dy, *dq, *log_sum_exp, *delta;  // all queries of the sequence; q is scaled by scale * log2 e
    float *kt, *vt, *k, *dk, *dv;              // one block of keys
    float *p, *ds;                             // one tile: kBlock queries x kBlock keys
};

float row_dot(const float* a, const float* b, int64_t n) {
    vf sums{};
    for_lanes(n, [&](int64_t i, auto lanes) { sums = fma(load(a + i, lanes), load(b + i, lanes), sums); });
    return sum(sums);
}

/// to[i, :] = factor * from[i, :dh], rows of `to` `stride` apart.
void unpack(const float* from, int64_t rows, int64_t dh, int64_t padded, float factor, float* to, int64_t stride) {
    for (int64_t i = 0; i < rows; ++i)
        for_lanes(dh, [&](int64_t d, auto n) {
            store(to + i * stride + d, load(from + i * padded + d) * broadcast(factor), n);
        });
}

/// The bias of one item, and its gradients: lane by lane, and by distance without the clamp.
struct BiasScratch {
    BiasScratch(int64_t queries, int64_t keys)
        : left(queries + kBlock),
          distances(left + keys + kBlock),
          rows(round_up(queries, kBlock)),
          memory(workspace({rows * (1 + kLanes) + distances})) {
        dgate = memory.mutable_data<float>();
        gate = dgate + rows * kLanes;
        dby_distance = gate + rows + left;
        std::fill(dgate, dgate + memory.numel(), 0.0f);
    }

    int64_t left, distances, rows;
    Tensor memory;
    const float* bias = nullptr;  // by key minus query, in units of log 2
    float *gate, *dgate, *dby_distance;

    /// by_distance's gradient of this item, with the clamp: to[2 reach + 1].
    void fold(int64_t reach, float* to) const {
        std::fill(to, to + 2 * reach + 1, 0.0f);
        for (int64_t d = -left; d < distances - left; ++d) to[reach + std::clamp(d, -reach, reach)] += dby_distance[d];
    }
};

struct Item {
    const detail::AttentionSizes& z;
    Scratch& s;
    int64_t sequence;
    bool want_dq, want_dkv;
    BiasScratch* bias = nullptr;

    /// Scores of kRows rows from row i, against the keys from j, get their bias.
    void add_bias(int64_t i, int64_t r, int64_t j, int64_t vectors) const {
        for (int64_t row = 0; row < kRows; ++row)
            for (int64_t n = 0; n < vectors * kLanes; n += kLanes) {
                float* p = s.p + (r + row) * kBlock + n;
                store(p, fma(broadcast(bias->gate[i + row]), load(bias->bias + j + n - i - row), load(p)));
            }
    }
    /// What those rows add to the gradients of gate and bias.
    void add_bias_gradients(int64_t i, int64_t r, int64_t j, int64_t vectors) const {
        for (int64_t row = 0; row < kRows; ++row) {
            const vf gate = broadcast(bias->gate[i + row]);
            float* lanes = bias->dgate + (i + row) * kLanes;
            vf sums = load(lanes);
            for (int64_t n = 0; n < vectors * kLanes; n += kLanes) {
                const vf ds = load(s.ds + (r + row) * kBlock + n);
                const int64_t d = j + n - i - row;
                sums = fma(ds, load(bias->bias + d), sums);
                store(bias->dby_distance + d, fma(gate, ds, load(bias->dby_distance + d)));
            }
            store(lanes, sums);
        }
    }

    /// p and ds of kRows rows from row i of the sequence (row r of the tile) against the block from key j: scores and
    /// dy.v become p and ds, exact zeros where a row does not see a key. `vectors` are stored.
    void probabilities(int64_t i, int64_t r, int64_t j, int64_t row_vectors, int64_t vectors) const {
        const int64_t last = z.queries(sequence) - 1;
        for (int64_t row = 0; row < kRows; ++row) {
            float *p = s.p + (r + row) * kBlock, *ds = s.ds + (r + row) * kBlock;
            const vf lse = broadcast(s.log_sum_exp[i + row]), delta = broadcast(s.delta[i + row]);
            const int64_t visible = i + row > last ? 0 : z.visible(sequence, i + row) - j;
            int64_t n = 0;
            for (; n < row_vectors * kLanes; n += kLanes) {
                vf pn = exp2(load(p + n) - lse);
                vf dsn = pn * (load(ds + n) - delta);
                if (visible < n + kLanes) {
                    pn = first_lanes(pn, visible - n, vf{});
                    dsn = first_lanes(dsn, visible - n, vf{});
                }
                store(p + n, pn);
                store(ds + n, dsn);
            }
            for (; n < vectors * kLanes; n += kLanes) {
                store(p + n, vf{});
                store(ds + n, vf{});
            }
        }
    }

    /// The tile of queries from row `first` against the block from key j.
    void tile(int64_t first, int64_t j) const {
        const int64_t rows = std::min(kBlock, z.queries(sequence) - first), padded = z.padded,
                      vectors = padded / kLanes;
        const int64_t keys = std::min(kBlock, z.visible(sequence, first + rows - 1) - j);
        if (keys <= 0) return;
        const int64_t key_vectors = round_up(keys, kLanes) / kLanes;
        // Under a causal mask the first rows may see nothing of the block; they would add exact zeros.
        int64_t r0 = 0;
        while (z.visible(sequence, std::min(first + r0 + kRows, first + rows) - 1) <= j) r0 += kRows;
        int64_t r1 = r0;
        for (; r1 < rows; r1 += kRows) {
            const int64_t i = first + r1;
            const int64_t row_keys = std::min(kBlock, z.visible(sequence, std::min(i + kRows, first + rows) - 1) - j);
            const int64_t row_vectors = round_up(row_keys, kLanes) / kLanes;
            float *p = s.p + r1 * kBlock, *ds = s.ds + r1 * kBlock;
            row_product<Start::overwrite>({s.q + i * padded, padded, 1}, s.kt, kBlock, z.dh, p, kBlock, row_vectors);
            row_product<Start::overwrite>({s.dy + i * padded, padded, 1}, s.vt, kBlock, z.dh, ds, kBlock, row_vectors);
            if (bias) add_bias(i, r1, j, row_vectors);
            probabilities(i, r1, j, row_vectors, key_vectors);
            if (bias) add_bias_gradients(i, r1, j, row_vectors);
        }
        const float *p = s.p + r0 * kBlock, *ds = s.ds + r0 * kBlock;
        const int64_t i = first + r0, count = r1 - r0;
        if (want_dq) product<Start::add>(count, {ds, kBlock, 1}, s.k, padded, keys, s.dq + i * padded, padded, vectors);
        if (want_dkv) {
            product<Start::add>(keys, {p, 1, kBlock}, s.dy + i * padded, padded, count, s.dv, padded, vectors);
            product<Start::add>(keys, {ds, 1, kBlock}, s.q + i * padded, padded, count, s.dk, padded, vectors);
        }
    }
};

/// What shares a kv head: to[j, g, :] = from[j, g*group, :] + from[j, g*group + 1, :] + ..., in this order.
Tensor add_groups(const Tensor& from, const Shape& shape) {
    Tensor to = Tensor::empty(shape);
    const int64_t dh = shape[2], group = from.dim(1) / shape[1];
    const float* pf = from.data<float>();
    float* pt = to.mutable_data<float>();
    parallel_for(shape[0] * shape[1], row_chunk(dh * group), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row)
            for_lanes(dh, [&](int64_t d, auto n) {
                vf sums = load(pf + row * group * dh + d, n);
                for (int64_t g = 1; g < group; ++g) sums = sums + load(pf + (row * group + g) * dh + d, n);
                store(pt + row * dh + d, sums, n);
            });
    });
    return to;
}

}  // namespace

AttentionGradients attention_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                                      const AttentionForward& forward, const AttentionLayout& layout,
                                      const AttentionWants& wants, const AttentionBias& bias) {
    const detail::AttentionSizes z = detail::attention_sizes("attention backward", q, k, v, layout);
    detail::check_attention_bias("attention backward", bias, q, layout);
    if (f64::runs(q)) return f64::attention_backward(dy, q, k, v, layout, wants, bias);
    const Device device = q.device();
    const bool want_dq = wants.dq, want_dkv = wants.dkv;
    if (!bias.defined() && (wants.dgate || wants.dby_distance))
        throw Error("attention backward: gradients of a bias are wanted, but there is none");
    if (wants.dby_distance)
        expect("attention backward", "dby_distance", *wants.dby_distance, bias.by_distance.shape(), DType::f32, device);
    expect("attention backward", "dy", dy, {q.dim(0), z.heads * z.dh}, DType::f32, device);
    expect("attention backward", "y", forward.y, dy.shape(), DType::f32, device);
    expect("attention backward", "log_sum_exp", forward.log_sum_exp, {q.dim(0), z.heads}, DType::f32, device);
    if (device != Device::cpu)
        return detail::attention_backward_on_device(dy, q, k, v, forward, layout, wants, bias, z);
    AttentionGradients result;
    const int64_t group = z.heads / z.kv_heads, width = z.heads * z.dh;
    Tensor dk, dv;  // per query head
    float *pdq = nullptr, *pdk = nullptr, *pdv = nullptr;
    if (want_dq) pdq = (result.dq = Tensor::empty(q.shape())).mutable_data<float>();
    if (want_dkv) {
        const Shape shape{k.dim(0), z.heads, z.dh};
        pdk = (dk = group == 1 ? Tensor::empty(shape) : workspace(shape)).mutable_data<float>();
        pdv = (dv = group == 1 ? Tensor::empty(shape) : workspace(shape)).mutable_data<float>();
    }
    const DistanceBias by_distance(bias, z);
    const int64_t distances = bias.defined() ? bias.by_distance.dim(0) : 0;
    float *pdgate = nullptr, *pfolded = nullptr;
    Tensor folded;  // what each item adds to dby_distance
    if (wants.dgate) pdgate = (result.dgate = Tensor::empty(bias.gate.shape())).mutable_data<float>();
    if (wants.dby_distance) pfolded = (folded = workspace({z.sequences(), z.heads, distances})).mutable_data<float>();
    const float *pdy = dy.data<float>(), *py = forward.y.data<float>(), *plse = forward.log_sum_exp.data<float>();
    parallel_for(z.sequences() * z.heads, 1, [&](int64_t begin, int64_t end) {
        for (int64_t item = begin; item < end; ++item) {
            const int64_t sequence = item / z.heads, head = item % z.heads, queries = z.queries(sequence),
                          q0 = z.q_begin(sequence), k0 = z.k_begin(sequence), padded = z.padded,
                          padded_rows = round_up(queries, kBlock);
            if (layout.products == DType::bf16) {
                const int64_t group_head = z.kv_head(head), q_at = q0 * width + head * z.dh,
                              k_at = k0 * width + head * z.dh;
                attention_backward_bf16({.sequence = sequence,
                                         .scale = static_cast<float>(layout.scale),
                                         .q = head_rows(q, q0, head),
                                         .k = head_rows(k, k0, group_head),
                                         .v = head_rows(v, k0, group_head),
                                         .dy = {pdy + q_at, width},
                                         .y = {py + q_at, width},
                                         .log_sum_exp = plse + q0 * z.heads + head,
                                         .dq = want_dq ? pdq + q_at : nullptr,
                                         .dk = want_dkv ? pdk + k_at : nullptr,
                                         .dv = want_dkv ? pdv + k_at : nullptr},
                                        z);
                continue;
            }
            Scratch s(padded_rows, padded);
            pack_rows(head_rows(q, q0, head), queries, padded_rows, z.dh, padded,
                      static_cast<float>(layout.scale) * kLog2E, s.q);
            const HeadRows dy_rows{pdy + q0 * width + head * z.dh, width}, y_rows{py + q0 * width + head * z.dh, width};
            pack_rows(dy_rows, queries, padded_rows, z.dh, padded, 1.0f, s.dy);
            std::fill(s.dq, s.dq + padded_rows * padded, 0.0f);
            for (int64_t i = 0; i < padded_rows; ++i) {
                const bool real = i < queries;
                s.log_sum_exp[i] = real ? plse[(q0 + i) * z.heads + head] : 0.0f;
                s.delta[i] = real ? row_dot(dy_rows.p + i * width, y_rows.p + i * width, z.dh) : 0.0f;
            }
            std::optional<BiasScratch> own;
            if (bias.defined()) {
                own.emplace(queries, z.keys(sequence));
                own->bias = by_distance.head(head);
                for (int64_t i = 0; i < queries; ++i) own->gate[i] = bias.gate.data<float>()[(q0 + i) * z.heads + head];
            }
            const Item one{z, s, sequence, want_dq, want_dkv, own ? &*own : nullptr};
            for (int64_t j = 0; j < z.keys(sequence); j += kBlock) {
                const int64_t rows = std::min(kBlock, z.keys(sequence) - j);
                const HeadRows kr = head_rows(k, k0 + j, z.kv_head(head)), vr = head_rows(v, k0 + j, z.kv_head(head));
                pack_transposed(kr, rows, z.dh, s.kt);
                pack_transposed(vr, rows, z.dh, s.vt);
                pack_rows(kr, rows, kBlock, z.dh, padded, 1.0f, s.k);
                std::fill(s.dk, s.dk + kBlock * padded, 0.0f);
                std::fill(s.dv, s.dv + kBlock * padded, 0.0f);
                for (int64_t i = 0; i < queries; i += kBlock) one.tile(i, j);
                if (!want_dkv) continue;
                // s.q holds scale * log2 e * q, so ds^T s.q lacks only ln 2
                unpack(s.dk, rows, z.dh, padded, kLn2, pdk + (k0 + j) * width + head * z.dh, width);
                unpack(s.dv, rows, z.dh, padded, 1.0f, pdv + (k0 + j) * width + head * z.dh, width);
            }
            if (want_dq)
                unpack(s.dq, queries, z.dh, padded, static_cast<float>(layout.scale), pdq + q0 * width + head * z.dh,
                       width);
            for (int64_t i = 0; pdgate && i < queries; ++i)  // the bias was in units of log 2
                pdgate[(q0 + i) * z.heads + head] = kLn2 * sum(load(own->dgate + i * kLanes));
            if (pfolded) own->fold(distances / 2, pfolded + item * distances);
        }
    });
    if (pfolded) {
        float* to = wants.dby_distance->mutable_data<float>();
        for (int64_t s = 0; s < z.sequences(); ++s)
            for (int64_t h = 0; h < z.heads; ++h, pfolded += distances)
                for (int64_t d = 0; d < distances; ++d) to[d * z.heads + h] += pfolded[d];
    }
    if (want_dkv) {
        result.dk = group == 1 ? dk : add_groups(dk, k.shape());
        result.dv = group == 1 ? dv : add_groups(dv, v.shape());
    }
    return result;
}

}  // namespace wavllm::kernels
