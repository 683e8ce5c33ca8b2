#pragma once
// SwiGLU's product in double: y = silu(gate) up for x = [gate | up].

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor silu_mul(const Tensor& gate_up) {
    const In x("silu_mul", "gate_up", gate_up);
    if (gate_up.rank() == 0 || x.columns() % 2 != 0)
        throw ShapeError("silu_mul: gate_up must have an even number of columns, but is {}", gate_up.describe());
    const int64_t f = x.columns() / 2;
    Tensor y = zeros(gate_up.shape().with(-1, f));
    double* py = y.mutable_data<double>();
    for (int64_t t = 0; t < x.rows(); ++t)
        for (int64_t j = 0; j < f; ++j) {
            const double gate = x[t * 2 * f + j], up = x[t * 2 * f + f + j];
            py[t * f + j] = gate * sigmoid(gate) * up;
        }
    return y;
}

inline Tensor silu_mul_backward(const Tensor& dy, const Tensor& gate_up) {
    const In x("silu_mul backward", "gate_up", gate_up);
    const int64_t f = x.columns() / 2;
    const In pdy("silu_mul backward", "dy", dy, gate_up.shape().with(-1, f));
    Tensor dx = zeros(gate_up.shape());
    double* pdx = dx.mutable_data<double>();
    for (int64_t t = 0; t < x.rows(); ++t)
        for (int64_t j = 0; j < f; ++j) {
            const int64_t at = t * 2 * f + j;
            const double gate = x[at], up = x[at + f], s = sigmoid(gate), d = pdy[t * f + j];
            pdx[at] = d * up * s * (1 + gate * (1 - s));
            pdx[at + f] = d * gate * s;
        }
    return dx;
}

}  // namespace wavllm::kernels::f64
