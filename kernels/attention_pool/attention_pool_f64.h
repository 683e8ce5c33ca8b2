#pragma once
// The pooling of the prompt adapter in double: the mean of a sequence's rows under the softmax of their scores.

#include <limits>

#include "kernels/attention_pool/attention_pool.h"
#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline AttentionPool attention_pool(const Tensor& x, const Tensor& scores, const Tensor& borders) {
    const In px("attention_pool", "x", x), ps("attention_pool", "scores", scores);
    const int64_t rows = px.rows(), channels = px.columns();
    if (x.rank() != 2 || scores.numel() != rows)
        throw ShapeError("attention_pool: x must be [T, C] with one score a row, but they are {} and {}", x.describe(),
                         scores.describe());
    const auto b = borders_of("attention_pool", borders, rows);
    AttentionPool result{zeros({static_cast<int64_t>(b.size()) - 1, channels}), zeros({rows})};
    double *py = result.y.mutable_data<double>(), *a = result.weights.mutable_data<double>();
    for (size_t s = 0; s + 1 < b.size(); ++s, py += channels) {
        double top = -std::numeric_limits<double>::infinity(), total = 0;
        for (int64_t t = b[s]; t < b[s + 1]; ++t) top = std::max(top, ps[t]);
        for (int64_t t = b[s]; t < b[s + 1]; ++t) total += a[t] = std::exp(ps[t] - top);
        for (int64_t t = b[s]; t < b[s + 1]; ++t) {
            a[t] /= total;
            for (int64_t c = 0; c < channels; ++c) py[c] += a[t] * px[t * channels + c];
        }
    }
    return result;
}

inline Tensor attention_pool_backward_x(const Tensor& dy, const Tensor& weights, const Tensor& borders) {
    const In pdy("attention_pool backward", "dy", dy), a("attention_pool backward", "weights", weights);
    const int64_t rows = weights.numel(), channels = pdy.columns();
    const auto b = borders_of("attention_pool backward", borders, rows);
    Tensor dx = zeros({rows, channels});
    double* pdx = dx.mutable_data<double>();
    for (size_t s = 0; s + 1 < b.size(); ++s)
        for (int64_t t = b[s]; t < b[s + 1]; ++t)
            for (int64_t c = 0; c < channels; ++c)
                pdx[t * channels + c] = a[t] * pdy[static_cast<int64_t>(s) * channels + c];
    return dx;
}

inline Tensor attention_pool_backward_scores(const Tensor& dy, const Tensor& x, const Tensor& weights,
                                             const Tensor& borders) {
    const In pdy("attention_pool backward", "dy", dy), px("attention_pool backward", "x", x),
        a("attention_pool backward", "weights", weights, {x.dim(0)});
    const int64_t channels = px.columns();
    const auto b = borders_of("attention_pool backward", borders, px.rows());
    Tensor dscores = zeros({px.rows()});
    double* g = dscores.mutable_data<double>();
    for (size_t s = 0; s + 1 < b.size(); ++s) {
        double mean = 0;
        for (int64_t t = b[s]; t < b[s + 1]; ++t) {
            for (int64_t c = 0; c < channels; ++c)
                g[t] += pdy[static_cast<int64_t>(s) * channels + c] * px[t * channels + c];
            mean += a[t] * g[t];
        }
        for (int64_t t = b[s]; t < b[s + 1]; ++t) g[t] = a[t] * (g[t] - mean);
    }
    return dscores;
}

}  // namespace wavllm::kernels::f64
