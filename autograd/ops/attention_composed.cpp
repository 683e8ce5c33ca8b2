// Attention by its definition, made of other ops, one head of one sequence at a time, with all its scores in memory: the
// second opinion on the fused op, with which it shares no code, on every device.

#include <algorithm>
#include <functional>
#include <numeric>

#include "autograd/ops/add.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/columns.h"
#include "autograd/ops/matmul.h"
#include "autograd/ops/mul.h"
#include "autograd/ops/rows.h"
#include "autograd/ops/scale.h"
#include "autograd/ops/softmax.h"
#include "autograd/ops/view.h"
#include "autograd/tape.h"
#include "kernels/attention/attention.h"

namespace wavllm {

namespace {

using Sizes = kernels::detail::AttentionSizes;

/// [T, H, Dh], possibly strided, as rows of H * Dh.
Tensor as_rows(const Tensor& x) {
    const Shape rows({x.dim(0), x.dim(1) * x.dim(2)});
    if (x.contiguous()) return reshape(x, rows);
    const Tensor packed =
        record("contiguous", x.to_contiguous(), {&x}, [] { return [](Backward& b) { b.add(0, b.dy()); }; });
    return reshape(packed, rows);
}

/// Rows begin .. begin + n - 1.
Tensor rows_of(const Tensor& x, int64_t begin, int64_t n) {
    if (begin == 0 && n == x.dim(0)) return x;
    std::vector<int32_t> index(static_cast<size_t>(n));
    std::iota(index.begin(), index.end(), static_cast<int32_t>(begin));
    return gather_rows(x, Tensor::from(index, {n}));
}

/// A constant [rows, columns] whose elements f gives, in the dtype and on the device of `like`.
Tensor constant(int64_t rows, int64_t columns, const Tensor& like, const std::function<float(int64_t, int64_t)>& f) {
    Tensor t = Tensor::empty({rows, columns});
    float* p = t.mutable_data<float>();
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) *p++ = f(i, j);
    return (like.dtype() == DType::f32 ? t : t.to(like.dtype())).to(like.device());
}

/// parts(0), parts(1) ... side by side or one below the other, in pairs, so that no element moves more than log2(n) times.
Tensor join(int64_t first, int64_t last, const std::function<Tensor(int64_t)>& part,
            const std::function<Tensor(const Tensor&, const Tensor&)>& pair) {
    if (last - first == 1) return part(first);
    const int64_t middle = (first + last) / 2;
    const Tensor a = join(first, middle, part, pair);
    return pair(a, join(middle, last, part, pair));
}

/// gate_i * by_distance[j - i] for all i and j of one head: [queries, keys].
Tensor bias_of(const AttentionBias& bias, const Tensor& gate, const Tensor& distances, int64_t keys, int64_t head) {
    const Tensor ones = Tensor::full({1, keys}, 1.0, gate.dtype()).to(gate.device());
    const Tensor by_distance = gather_rows(slice_columns(bias.by_distance, head, head + 1), distances);
    return mul(matmul(slice_columns(gate, head, head + 1), ones), reshape(by_distance, {gate.dim(0), keys}));
}

/// [queries, H * Dh] of one sequence, from its own rows.
Tensor attend(const Sizes& z, int64_t s, const Tensor& q, const Tensor& k, const Tensor& v,
              const AttentionLayout& layout, const AttentionBias& bias) {
    const int64_t queries = z.queries(s), keys = z.keys(s);
    if (keys == 0) return Tensor::zeros({queries, z.heads * z.dh}, q.dtype(), q.device());
    const auto visible = [&](int64_t i, int64_t j) { return j < z.visible(s, i); };
    Tensor hide, seen, gate, distances;
    if (z.causal) {
        // Not -inf: a row that sees no key would become NaN. Its result is made zero by `seen`.
        hide = constant(queries, keys, q, [&](int64_t i, int64_t j) { return visible(i, j) ? 0.0f : -1e30f; });
        seen = constant(queries, keys, q, [&](int64_t i, int64_t j) { return visible(i, j) ? 1.0f : 0.0f; });
    }
    if (bias.defined()) {
        gate = rows_of(bias.gate, z.q_begin(s), queries);
        const int64_t reach = bias.by_distance.dim(0) / 2;
        std::vector<int32_t> index;
        for (int64_t i = 0; i < queries; ++i)
            for (int64_t j = 0; j < keys; ++j)
                index.push_back(static_cast<int32_t>(reach + std::clamp(j - i, -reach, reach)));
        distances = Tensor::from(index, {queries * keys});
    }
    const auto head = [&](int64_t h) {
        const auto of = [&](const Tensor& x, int64_t at) { return slice_columns(x, at * z.dh, (at + 1) * z.dh); };
        Tensor scores = scale(matmul(of(q, h), of(k, z.kv_head(h)), true, layout.products), layout.scale);
        if (bias.defined()) scores = scores + bias_of(bias, gate, distances, keys, h);
        if (hide.defined()) scores = scores + hide;
        Tensor p = softmax(scores);
        if (seen.defined()) p = mul(p, seen);
        return matmul(p, of(v, z.kv_head(h)), false, layout.products);
    };
    return join(0, z.heads, head, concat_columns);
}

}  // namespace

Tensor attention_composed(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout,
                          const AttentionBias& bias) {
    const Sizes z = kernels::detail::attention_sizes("attention_composed", q, k, v, layout);
    kernels::detail::check_attention_bias("attention_composed", bias, q, layout);
    if (q.dim(0) == 0) return Tensor::zeros({0, z.heads * z.dh}, q.dtype(), q.device());
    const Tensor rows_q = as_rows(q), rows_k = as_rows(k), rows_v = as_rows(v);
    const auto sequence = [&](int64_t s) {
        return attend(z, s, rows_of(rows_q, z.q_begin(s), z.queries(s)), rows_of(rows_k, z.k_begin(s), z.keys(s)),
                      rows_of(rows_v, z.k_begin(s), z.keys(s)), layout, bias);
    };
    return join(0, z.sequences(), sequence, [](const Tensor& a, const Tensor& b) { return concat_rows({a, b}); });
}

}  // namespace wavllm
