#pragma once
// x sigmoid(x) in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor silu(const Tensor& x) {
    return map("silu", x, [](double v) { return v * sigmoid(v); });
}

inline Tensor silu_backward(const Tensor& dy, const Tensor& x) {
    return map("silu backward", dy, x, [](double d, double v) {
        const double s = sigmoid(v);
        return d * s * (1 + v * (1 - s));
    });
}

}  // namespace wavllm::kernels::f64
