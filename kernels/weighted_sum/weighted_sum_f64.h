#pragma once
// Layers mixed with the softmax of their weights, in double.

#include <vector>

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline std::vector<double> layer_shares(std::string_view op, const Tensor& w) {
    const In pw(op, "w", w);
    if (w.rank() != 1 || w.numel() == 0) throw ShapeError("{}: w must be [L] with L > 0, but is {}", op, w.describe());
    std::vector<double> p(pw.at(0), pw.at(w.numel()));
    const double top = *std::max_element(p.begin(), p.end());
    double total = 0;
    for (double& v : p) total += v = std::exp(v - top);
    for (double& v : p) v /= total;
    return p;
}

inline Tensor weighted_sum(const Tensor& x, const Tensor& w) {
    const In px("weighted_sum", "x", x);
    if (x.rank() != 3) throw ShapeError("weighted_sum: x must be [L, T, D], but is {}", x.describe());
    expect("weighted_sum", "w", w, {x.dim(0)}, DType::f64);
    const std::vector<double> p = layer_shares("weighted_sum", w);
    const int64_t n = x.dim(1) * x.dim(2);
    Tensor y = zeros({x.dim(1), x.dim(2)});
    double* py = y.mutable_data<double>();
    for (int64_t l = 0; l < x.dim(0); ++l)
        for (int64_t i = 0; i < n; ++i) py[i] += p[static_cast<size_t>(l)] * px[l * n + i];
    return y;
}

inline Tensor weighted_sum_backward_x(const Tensor& dy, const Tensor& w) {
    const In pdy("weighted_sum backward", "dy", dy);
    const std::vector<double> p = layer_shares("weighted_sum backward", w);
    const int64_t n = dy.numel();
    Tensor dx = zeros({w.numel(), dy.dim(0), dy.dim(1)});
    double* pdx = dx.mutable_data<double>();
    for (int64_t l = 0; l < w.numel(); ++l)
        for (int64_t i = 0; i < n; ++i) pdx[l * n + i] = p[static_cast<size_t>(l)] * pdy[i];
    return dx;
}

inline void weighted_sum_backward_w(const Tensor& dy, const Tensor& x, const Tensor& w, Tensor& dw) {
    const In px("weighted_sum backward", "x", x), pdy("weighted_sum backward", "dy", dy, {x.dim(1), x.dim(2)});
    expect("weighted_sum backward", "dw", dw, {x.dim(0)}, DType::f64);
    const std::vector<double> p = layer_shares("weighted_sum backward", w);
    const int64_t n = dy.numel();
    std::vector<double> g(p.size());  // of each layer's share
    double mean = 0;
    for (size_t l = 0; l < p.size(); ++l) {
        for (int64_t i = 0; i < n; ++i) g[l] += pdy[i] * px[static_cast<int64_t>(l) * n + i];
        mean += p[l] * g[l];
    }
    for (size_t l = 0; l < p.size(); ++l) dw.mutable_data<double>()[l] += p[l] * (g[l] - mean);
}

}  // namespace wavllm::kernels::f64
