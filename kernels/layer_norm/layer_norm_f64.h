#pragma once
// LayerNorm in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

struct Moments64 {
    double mean, r;  ///< r = 1/sqrt(variance + eps)
};

inline Moments64 moments(const double* x, int64_t d, double eps) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < d; ++i) mean += x[i] / static_cast<double>(d);
    for (int64_t i = 0; i < d; ++i) variance += (x[i] - mean) * (x[i] - mean) / static_cast<double>(d);
    return {mean, 1 / std::sqrt(variance + eps)};
}

inline Tensor layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
    const In px("layer_norm", "x", x), pw("layer_norm", "weight", w, {x.shape().last()}),
        pb("layer_norm", "bias", b, {x.shape().last()});
    const int64_t d = px.columns();
    Tensor y = zeros(x.shape());
    double* py = y.mutable_data<double>();
    for (int64_t row = 0; row < px.rows(); ++row) {
        const auto [mean, r] = moments(px.at(row * d), d, eps);
        for (int64_t i = 0; i < d; ++i) py[row * d + i] = (px[row * d + i] - mean) * r * pw[i] + pb[i];
    }
    return y;
}

inline Tensor layer_norm_backward_x(const Tensor& dy, const Tensor& x, const Tensor& w, double eps) {
    const In px("layer_norm backward", "x", x), pdy("layer_norm backward", "dy", dy, x.shape()),
        pw("layer_norm backward", "weight", w, {x.shape().last()});
    const int64_t d = px.columns();
    Tensor dx = zeros(x.shape());
    double* pdx = dx.mutable_data<double>();
    for (int64_t row = 0; row < px.rows(); ++row) {
        const int64_t at = row * d;
        const auto [mean, r] = moments(px.at(at), d, eps);
        const auto n = [&, m = mean, s = r](int64_t i) { return (px[at + i] - m) * s; };
        const auto g = [&](int64_t i) { return pw[i] * pdy[at + i]; };
        double g_mean = 0, gn_mean = 0;
        for (int64_t i = 0; i < d; ++i) {
            g_mean += g(i) / static_cast<double>(d);
            gn_mean += g(i) * n(i) / static_cast<double>(d);
        }
        for (int64_t i = 0; i < d; ++i) pdx[at + i] = r * (g(i) - g_mean - n(i) * gn_mean);
    }
    return dx;
}

inline void layer_norm_backward_w(const Tensor& dy, const Tensor& x, double eps, Tensor& dw) {
    const In px("layer_norm backward", "x", x), pdy("layer_norm backward", "dy", dy, x.shape());
    const int64_t d = px.columns();
    expect("layer_norm backward", "dw", dw, {d}, DType::f64);
    double* pdw = dw.mutable_data<double>();
    for (int64_t row = 0; row < px.rows(); ++row) {
        const auto [mean, r] = moments(px.at(row * d), d, eps);
        for (int64_t i = 0; i < d; ++i) pdw[i] += pdy[row * d + i] * (px[row * d + i] - mean) * r;
    }
}

inline void layer_norm_backward_b(const Tensor& dy, Tensor& db) {
    const In pdy("layer_norm backward", "dy", dy);
    const int64_t d = pdy.columns();
    expect("layer_norm backward", "db", db, {d}, DType::f64);
    double* pdb = db.mutable_data<double>();
    for (int64_t row = 0; row < pdy.rows(); ++row)
        for (int64_t i = 0; i < d; ++i) pdb[i] += pdy[row * d + i];
}

}  // namespace wavllm::kernels::f64
