#pragma once
// Columns cut out and put side by side, in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor slice_columns(const Tensor& x, int64_t begin, int64_t end) {
    const In px("slice_columns", "x", x);
    const int64_t c = px.columns(), d = end - begin;
    if (x.rank() == 0 || begin < 0 || end < begin || end > c)
        throw ShapeError("slice_columns: columns [{}, {}) of x, which is {}", begin, end, x.describe());
    Tensor y = zeros(x.shape().with(-1, d));
    double* py = y.mutable_data<double>();
    for (int64_t row = 0; row < px.rows(); ++row)
        for (int64_t i = 0; i < d; ++i) py[row * d + i] = px[row * c + begin + i];
    return y;
}

inline void slice_columns_backward(const Tensor& dy, int64_t begin, Tensor& dx) {
    const In pdy("slice_columns backward", "dy", dy, dx.shape().with(-1, dy.shape().last()));
    expect("slice_columns backward", "dx", dx, DType::f64);
    const int64_t c = dx.shape().last(), d = pdy.columns();
    double* pdx = dx.mutable_data<double>();
    for (int64_t row = 0; row < pdy.rows(); ++row)
        for (int64_t i = 0; i < d; ++i) pdx[row * c + begin + i] += pdy[row * d + i];
}

inline Tensor concat_columns(const Tensor& a, const Tensor& b) {
    const In pa("concat_columns", "a", a), pb("concat_columns", "b", b, a.shape().with(-1, b.shape().last()));
    const int64_t ca = pa.columns(), cb = pb.columns();
    Tensor y = zeros(a.shape().with(-1, ca + cb));
    double* py = y.mutable_data<double>();
    for (int64_t row = 0; row < y.rows(); ++row) {
        for (int64_t i = 0; i < ca; ++i) py[row * (ca + cb) + i] = pa[row * ca + i];
        for (int64_t i = 0; i < cb; ++i) py[row * (ca + cb) + ca + i] = pb[row * cb + i];
    }
    return y;
}

}  // namespace wavllm::kernels::f64
