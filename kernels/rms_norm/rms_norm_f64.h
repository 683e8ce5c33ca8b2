#pragma once
// RMSNorm in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline double inverse_rms(const double* x, int64_t d, double eps) {
    double squares = 0;
    for (int64_t i = 0; i < d; ++i) squares += x[i] * x[i];
    return 1 / std::sqrt(squares / static_cast<double>(d) + eps);
}

inline Tensor rms_norm(const Tensor& x, const Tensor& w, double eps) {
    const In px("rms_norm", "x", x), pw("rms_norm", "weight", w, {x.shape().last()});
    const int64_t d = px.columns();
    Tensor y = zeros(x.shape());
    double* py = y.mutable_data<double>();
    for (int64_t row = 0; row < px.rows(); ++row) {
        const double r = inverse_rms(px.at(row * d), d, eps);
        for (int64_t i = 0; i < d; ++i) py[row * d + i] = px[row * d + i] * r * pw[i];
    }
    return y;
}

inline Tensor rms_norm_backward_x(const Tensor& dy, const Tensor& x, const Tensor& w, double eps) {
    const In px("rms_norm backward", "x", x), pdy("rms_norm backward", "dy", dy, x.shape()),
        pw("rms_norm backward", "weight", w, {x.shape().last()});
    const int64_t d = px.columns();
    Tensor dx = zeros(x.shape());
    double* pdx = dx.mutable_data<double>();
    for (int64_t row = 0; row < px.rows(); ++row) {
        const int64_t at = row * d;
        const double r = inverse_rms(px.at(at), d, eps);
        double mean = 0;
        for (int64_t i = 0; i < d; ++i) mean += px[at + i] * pw[i] * pdy[at + i] / static_cast<double>(d);
        for (int64_t i = 0; i < d; ++i) pdx[at + i] = r * pw[i] * pdy[at + i] - px[at + i] * r * r * r * mean;
    }
    return dx;
}

inline void rms_norm_backward_w(const Tensor& dy, const Tensor& x, double eps, Tensor& dw) {
    const In px("rms_norm backward", "x", x), pdy("rms_norm backward", "dy", dy, x.shape());
    const int64_t d = px.columns();
    expect("rms_norm backward", "dw", dw, {d}, DType::f64);
    double* pdw = dw.mutable_data<double>();
    for (int64_t row = 0; row < px.rows(); ++row) {
        const double r = inverse_rms(px.at(row * d), d, eps);
        for (int64_t i = 0; i < d; ++i) pdw[i] += pdy[row * d + i] * px[row * d + i] * r;
    }
}

}  // namespace wavllm::kernels::f64
