// Attention by its definition, one head of one sequence at a time, with all its scores in memory. Slow and simple: the
// second opinion on the fused op, which shares none of this code.

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/ops/attention.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"

namespace wavllm {

namespace {

/// One head of one sequence: rows of q, k, v as the tensors' strides place them.
struct Head {
    const float *q, *k, *v;
    int64_t q_row, k_row, v_row, queries, keys, dh;
    bool causal;
    float scale;

    int64_t visible(int64_t i) const {
        return causal ? std::clamp<int64_t>(i + 1 + keys - queries, 0, keys) : keys;
    }
};

float dot(const float* a, const float* b, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; ++i) sum = std::fma(a[i], b[i], sum);
    return sum;
}

void add_scaled(float factor, const float* x, int64_t n, float* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = std::fma(factor, x[i], y[i]);
}

/// p[i, :] = softmax(scale q_i . k_j) over the keys that i sees, zeros elsewhere.
void softmax_of_scores(const Head& h, float* p) {
    for (int64_t i = 0; i < h.queries; ++i, p += h.keys) {
        const int64_t n = h.visible(i);
        float top = -std::numeric_limits<float>::infinity(), total = 0;
        for (int64_t j = 0; j < n; ++j)
            top = std::max(top, p[j] = h.scale * dot(h.q + i * h.q_row, h.k + j * h.k_row, h.dh));
        for (int64_t j = 0; j < n; ++j) total += p[j] = std::exp(p[j] - top);
        for (int64_t j = 0; j < h.keys; ++j) p[j] = j < n ? p[j] / total : 0.0f;
    }
}

/// Calls f(head description, p, sequence's first query, first key, head, kv head) for every head of every sequence.
template <class F>
void for_each_head(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout, F&& f) {
    const kernels::detail::AttentionSizes z = kernels::detail::attention_sizes("attention_composed", q, k, v, layout);
    for (int64_t s = 0; s < z.sequences(); ++s) {
        Tensor p = kernels::workspace({z.queries(s), z.keys(s)});
        for (int64_t head = 0; head < z.heads; ++head) {
            const int64_t q0 = z.q_begin(s), k0 = z.k_begin(s), g = z.kv_head(head);
            const Head h{q.data<float>() + q0 * q.stride(0) + head * q.stride(1),
                         k.data<float>() + k0 * k.stride(0) + g * k.stride(1),
                         v.data<float>() + k0 * v.stride(0) + g * v.stride(1),
                         q.stride(0),
                         k.stride(0),
                         v.stride(0),
                         z.queries(s),
                         z.keys(s),
                         z.dh,
                         z.causal,
                         static_cast<float>(layout.scale)};
            softmax_of_scores(h, p.mutable_data<float>());
            f(h, p.data<float>(), (q0 * z.heads + head) * z.dh, (k0 * z.kv_heads + g) * z.dh);
        }
    }
}

void backward_of(Backward& b, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout) {
    Tensor dq = Tensor::zeros(q.shape()), dk = Tensor::zeros(k.shape()), dv = Tensor::zeros(v.shape());
    const float* pdy = b.dy().data<float>();
    float *pdq = dq.mutable_data<float>(), *pdk = dk.mutable_data<float>(), *pdv = dv.mutable_data<float>();
    const int64_t q_step = q.dim(1) * q.dim(2), k_step = k.dim(1) * k.dim(2);
    for_each_head(q, k, v, layout, [&](const Head& h, const float* p, int64_t q_at, int64_t k_at) {
        for (int64_t i = 0; i < h.queries; ++i, p += h.keys) {
            const float* dyi = pdy + q_at + i * q_step;
            const int64_t n = h.visible(i);
            float mean = 0;  // of dp under p
            for (int64_t j = 0; j < n; ++j) mean = std::fma(p[j], dot(dyi, h.v + j * h.v_row, h.dh), mean);
            for (int64_t j = 0; j < n; ++j) {
                const float ds = h.scale * p[j] * (dot(dyi, h.v + j * h.v_row, h.dh) - mean);
                add_scaled(ds, h.k + j * h.k_row, h.dh, pdq + q_at + i * q_step);
                add_scaled(ds, h.q + i * h.q_row, h.dh, pdk + k_at + j * k_step);
                add_scaled(p[j], dyi, h.dh, pdv + k_at + j * k_step);
            }
        }
    });
    if (b.wants(0)) b.add(0, std::move(dq));
    if (b.wants(1)) b.add(1, std::move(dk));
    if (b.wants(2)) b.add(2, std::move(dv));
}

}  // namespace

Tensor attention_composed(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout) {
    Tensor y = Tensor::zeros({q.dim(0), q.dim(1) * q.dim(2)});
    float* py = y.mutable_data<float>();
    const int64_t step = y.dim(1);
    for_each_head(q, k, v, layout, [&](const Head& h, const float* p, int64_t q_at, int64_t) {
        for (int64_t i = 0; i < h.queries; ++i)
            for (int64_t j = 0; j < h.visible(i); ++j)
                add_scaled(p[i * h.keys + j], h.v + j * h.v_row, h.dh, py + q_at + i * step);
    });
    return record("attention_composed", y, {&q, &k, &v}, [&] {
        return [q = Saved(q), k = Saved(k), v = Saved(v), layout](Backward& b) {
            backward_of(b, q.get(), k.get(), v.get(), layout);
        };
    });
}

}  // namespace wavllm
