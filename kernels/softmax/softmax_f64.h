#pragma once
// Softmax of rows in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor softmax(const Tensor& x) {
    const In in("softmax", "x", x);
    const int64_t c = in.columns();
    if (c == 0) throw ShapeError("softmax: x has no columns: {}", x.describe());
    Tensor y = zeros(x.shape());
    double* py = y.mutable_data<double>();
    for (int64_t row = 0; row < in.rows(); ++row) {
        const double* xr = in.at(row * c);
        double* yr = py + row * c;
        const double largest = *std::max_element(xr, xr + c);
        double total = 0;
        for (int64_t i = 0; i < c; ++i) total += yr[i] = std::exp(xr[i] - largest);
        for (int64_t i = 0; i < c; ++i) yr[i] /= total;
    }
    return y;
}

inline Tensor softmax_backward(const Tensor& dy, const Tensor& y) {
    const In py("softmax backward", "y", y), pdy("softmax backward", "dy", dy, y.shape());
    const int64_t c = py.columns();
    Tensor dx = zeros(y.shape());
    double* pdx = dx.mutable_data<double>();
    for (int64_t row = 0; row < py.rows(); ++row) {
        double mean = 0;
        for (int64_t i = row * c; i < (row + 1) * c; ++i) mean += pdy[i] * py[i];
        for (int64_t i = row * c; i < (row + 1) * c; ++i) pdx[i] = py[i] * (pdy[i] - mean);
    }
    return dx;
}

}  // namespace wavllm::kernels::f64
