#pragma once
// The gated linear unit in double: y = a sigmoid(b) for x = [a | b].

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor glu(const Tensor& x) {
    const In in("glu", "x", x);
    if (x.rank() == 0 || in.columns() % 2 != 0)
        throw ShapeError("glu: x must have an even number of columns, but is {}", x.describe());
    const int64_t c = in.columns() / 2;
    Tensor y = zeros(x.shape().with(-1, c));
    double* py = y.mutable_data<double>();
    for (int64_t t = 0; t < in.rows(); ++t)
        for (int64_t j = 0; j < c; ++j) py[t * c + j] = in[t * 2 * c + j] * sigmoid(in[t * 2 * c + c + j]);
    return y;
}

inline Tensor glu_backward(const Tensor& dy, const Tensor& x) {
    const In in("glu backward", "x", x);
    const int64_t c = in.columns() / 2;
    const In pdy("glu backward", "dy", dy, x.shape().with(-1, c));
    Tensor dx = zeros(x.shape());
    double* pdx = dx.mutable_data<double>();
    for (int64_t t = 0; t < in.rows(); ++t)
        for (int64_t j = 0; j < c; ++j) {
            const int64_t a = t * 2 * c + j, b = a + c;
            const double s = sigmoid(in[b]), d = pdy[t * c + j];
            pdx[a] = d * s;
            pdx[b] = d * in[a] * s * (1 - s);
        }
    return dx;
}

}  // namespace wavllm::kernels::f64
