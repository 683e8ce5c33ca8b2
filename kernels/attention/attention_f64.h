#pragma once
// Attention in double, by its definition: all scores of a row, softmax, weighted sum.

#include <limits>
#include <numbers>
#include <optional>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

/// One head of one sequence: the first elements of its rows, and what a query sees.
struct Head64 {
    const double *q, *k, *v;
    int64_t q_row, k_row;  ///< elements from row to row
    int64_t queries, keys, dh;
    bool causal;
    double scale;
    const double *gate = nullptr, *by_distance = nullptr;  // of this head; null: no bias
    int64_t heads = 0, reach = 0;                          // elements from row to row of both; AttentionBias's R

    /// Where in by_distance what key j adds to the score of query i stands.
    int64_t distance(int64_t i, int64_t j) const {
        return (reach + std::clamp(j - i, -reach, reach)) * heads;
    }
    double bias(int64_t i, int64_t j) const {
        return gate ? gate[i * heads] * by_distance[distance(i, j)] : 0;
    }
    int64_t visible(int64_t i) const {
        return causal ? std::clamp<int64_t>(i + 1 + keys - queries, 0, keys) : keys;
    }
    /// p = softmax over the visible keys of scale q_i . k_j + bias. Returns log2 of the sum of e^score.
    double probabilities(int64_t i, std::vector<double>& p) const {
        p.assign(static_cast<size_t>(visible(i)), 0);
        for (size_t j = 0; j < p.size(); ++j) {
            p[j] = bias(i, static_cast<int64_t>(j));
            for (int64_t d = 0; d < dh; ++d) p[j] += scale * q[i * q_row + d] * k[static_cast<int64_t>(j) * k_row + d];
        }
        double top = -std::numeric_limits<double>::infinity(), total = 0;
        for (double s : p) top = std::max(top, s);
        for (double& s : p) total += s = std::exp(s - top);
        for (double& s : p) s /= total;
        return (top + std::log(total)) / std::numbers::ln2;
    }
};

/// q, k, v [rows, heads, Dh], checked, and f(head, its first element in q and y, its first element in k and v) for
/// every head of every sequence, which is f's last argument. Heads that share a kv head run one after the other.
template <class F>
void for_each_head(std::string_view op, const Tensor& q, const Tensor& k, const Tensor& v,
                   const AttentionLayout& layout, const AttentionBias& bias, F&& f) {
    const In pq(op, "q", q), pk(op, "k", k), pv(op, "v", v, k.shape());
    const int64_t heads = q.dim(1), kv_heads = k.dim(1), dh = q.dim(2), group = heads / kv_heads;
    if (k.dim(2) != dh || group * kv_heads != heads)
        throw ShapeError("{}: q is {}, k and v are {}: the head dimensions must be one, the heads of k divide q's", op,
                         q.describe(), k.describe());
    std::optional<In> gate, by_distance;
    if (bias.defined()) {
        gate.emplace(op, "gate", bias.gate, Shape{q.dim(0), heads});
        by_distance.emplace(op, "by_distance", bias.by_distance);
        if (bias.by_distance.rank() != 2 || bias.by_distance.dim(0) % 2 == 0 || bias.by_distance.dim(1) != heads)
            throw ShapeError("{}: by_distance must be [2 R + 1, {}] for q {}, but is {}", op, heads, q.describe(),
                             bias.by_distance.describe());
    }
    const auto qb = borders_of(op, layout.q_borders, q.dim(0)), kb = borders_of(op, layout.k_borders, k.dim(0));
    const auto sequences = static_cast<int64_t>(qb.size()) - 1;
    parallel_for(sequences * kv_heads, 1, [&](int64_t begin, int64_t end) {
        for (int64_t item = begin; item < end; ++item) {
            const auto s = static_cast<size_t>(item / kv_heads);
            for (int64_t h = item % kv_heads * group; h < (item % kv_heads + 1) * group; ++h) {
                const int64_t at_q = (qb[s] * heads + h) * dh, at_k = (kb[s] * kv_heads + h / group) * dh;
                f(Head64{.q = pq.at(at_q),
                         .k = pk.at(at_k),
                         .v = pv.at(at_k),
                         .q_row = heads * dh,
                         .k_row = kv_heads * dh,
                         .queries = qb[s + 1] - qb[s],
                         .keys = kb[s + 1] - kb[s],
                         .dh = dh,
                         .causal = layout.mask == AttentionMask::causal,
                         .scale = layout.scale,
                         .gate = gate ? gate->at(qb[s] * heads + h) : nullptr,
                         .by_distance = by_distance ? by_distance->at(h) : nullptr,
                         .heads = heads,
                         .reach = by_distance ? bias.by_distance.dim(0) / 2 : 0},
                  at_q, at_k, static_cast<int64_t>(s));
            }
        }
    });
}

/// layout.products is not looked at: nothing is rounded here.
inline AttentionForward attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout,
                                  const AttentionBias& bias = {}) {
    const int64_t heads = q.dim(1), dh = q.dim(2);
    AttentionForward result{zeros({q.dim(0), heads * dh}), zeros({q.dim(0), heads})};
    double *py = result.y.mutable_data<double>(), *plse = result.log_sum_exp.mutable_data<double>();
    for_each_head("attention", q, k, v, layout, bias, [&](const Head64& h, int64_t at_q, int64_t, int64_t) {
        std::vector<double> p;
        for (int64_t i = 0; i < h.queries; ++i) {
            double* y = py + at_q + i * h.q_row;
            plse[at_q / dh + i * heads] = h.probabilities(i, p);
            for (size_t j = 0; j < p.size(); ++j)
                for (int64_t d = 0; d < dh; ++d) y[d] += p[j] * h.v[static_cast<int64_t>(j) * h.k_row + d];
        }
    });
    return result;
}

inline AttentionGradients attention_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                                             const AttentionLayout& layout, const AttentionWants& wants,
                                             const AttentionBias& bias) {
    const int64_t dh = q.dim(2), heads = q.dim(1);
    if (!bias.defined() && (wants.dgate || wants.dby_distance))
        throw Error("attention backward: gradients of a bias are wanted, but there is none");
    const In in("attention backward", "dy", dy, {q.dim(0), q.dim(1) * dh});
    AttentionGradients result{zeros(q.shape()), zeros(k.shape()), zeros(v.shape()), {}};
    if (wants.dgate) result.dgate = zeros(bias.gate.shape());
    // dby_distance of every sequence by itself: heads of one sequence have columns of their own, sequences do not
    const int64_t sequences = layout.q_borders.numel() - 1;
    Tensor by_sequence;
    if (wants.dby_distance) {
        expect("attention backward", "dby_distance", *wants.dby_distance, bias.by_distance.shape(), DType::f64);
        by_sequence = zeros({sequences, bias.by_distance.numel()});
    }
    double *pdgate = wants.dgate ? result.dgate.mutable_data<double>() : nullptr,
           *pby = wants.dby_distance ? by_sequence.mutable_data<double>() : nullptr;
    double *pdq = result.dq.mutable_data<double>(), *pdk = result.dk.mutable_data<double>(),
           *pdv = result.dv.mutable_data<double>();
    for_each_head("attention backward", q, k, v, layout, bias,
                  [&](const Head64& h, int64_t at_q, int64_t at_k, int64_t s) {
                      std::vector<double> p, dp;
                      for (int64_t i = 0; i < h.queries; ++i) {
                          const double *dyi = in.at(at_q + i * h.q_row), *qi = h.q + i * h.q_row;
                          double* dqi = pdq + at_q + i * h.q_row;
                          h.probabilities(i, p);
                          dp.assign(p.size(), 0);
                          double mean = 0;  // of dp under p
                          for (size_t j = 0; j < p.size(); ++j) {
                              for (int64_t d = 0; d < dh; ++d)
                                  dp[j] += dyi[d] * h.v[static_cast<int64_t>(j) * h.k_row + d];
                              mean += p[j] * dp[j];
                          }
                          for (size_t j = 0; j < p.size(); ++j) {
                              const int64_t row = static_cast<int64_t>(j) * h.k_row;
                              const double dscore = p[j] * (dp[j] - mean), ds = h.scale * dscore;
                              const int64_t from = h.distance(i, static_cast<int64_t>(j)), head = at_q / dh % heads;
                              if (pdgate) pdgate[at_q / dh + i * heads] += dscore * h.by_distance[from];
                              if (pby) pby[s * bias.by_distance.numel() + from + head] += dscore * h.gate[i * heads];
                              for (int64_t d = 0; d < dh; ++d) {
                                  dqi[d] += ds * h.k[row + d];
                                  pdk[at_k + row + d] += ds * qi[d];
                                  pdv[at_k + row + d] += p[j] * dyi[d];
                              }
                          }
                      }
                  });
    if (pby) {
        double* to = wants.dby_distance->mutable_data<double>();
        for (int64_t i = 0; i < by_sequence.numel(); ++i) to[i % bias.by_distance.numel()] += pby[i];
    }
    return result;
}

}  // namespace wavllm::kernels::f64
