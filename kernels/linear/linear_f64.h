#pragma once
// y = x w^T + bias in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
    const In px("linear", "x", x), pw("linear", "weight", w);
    const int64_t n = w.dim(0), k = w.dim(1);
    if (px.columns() != k)
        throw ShapeError("linear: weight {} takes {} features, but x is {}", w.describe(), k, x.describe());
    if (bias.defined()) expect("linear", "bias", bias, {n}, DType::f64);
    const double* pb = bias.defined() ? bias.data<double>() : nullptr;
    Tensor y = zeros(x.shape().with(-1, n));
    double* py = y.mutable_data<double>();
    for_rows(px.rows(), n * k, [&](int64_t m) {
        for (int64_t i = 0; i < n; ++i) {
            double sum = pb ? pb[i] : 0;
            for (int64_t j = 0; j < k; ++j) sum += px[m * k + j] * pw[i * k + j];
            py[m * n + i] = sum;
        }
    });
    return y;
}

inline Tensor linear_backward_x(const Tensor& dy, const Tensor& w) {
    const In pdy("linear backward", "dy", dy), pw("linear backward", "weight", w);
    const int64_t n = w.dim(0), k = w.dim(1);
    Tensor dx = zeros(dy.shape().with(-1, k));
    double* pdx = dx.mutable_data<double>();
    for_rows(pdy.rows(), n * k, [&](int64_t m) {
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < k; ++j) pdx[m * k + j] += pdy[m * n + i] * pw[i * k + j];
    });
    return dx;
}

inline void linear_backward_w(const Tensor& dy, const Tensor& x, Tensor& dw) {
    const In pdy("linear backward", "dy", dy), px("linear backward", "x", x);
    const int64_t n = pdy.columns(), k = px.columns();
    expect("linear backward", "dw", dw, {n, k}, DType::f64);
    double* pdw = dw.mutable_data<double>();
    for_rows(n, px.rows() * k, [&](int64_t i) {
        for (int64_t m = 0; m < px.rows(); ++m)
            for (int64_t j = 0; j < k; ++j) pdw[i * k + j] += pdy[m * n + i] * px[m * k + j];
    });
}

inline void linear_backward_bias(const Tensor& dy, Tensor& db) {
    const In pdy("linear backward", "dy", dy);
    const int64_t n = pdy.columns();
    expect("linear backward", "db", db, {n}, DType::f64);
    double* pdb = db.mutable_data<double>();
    for (int64_t m = 0; m < pdy.rows(); ++m)
        for (int64_t i = 0; i < n; ++i) pdb[i] += pdy[m * n + i];
}

}  // namespace wavllm::kernels::f64
