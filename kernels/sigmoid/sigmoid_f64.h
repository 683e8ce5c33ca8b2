#pragma once
// The logistic function in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor sigmoid(const Tensor& x) {
    return map("sigmoid", x, [](double v) { return sigmoid(v); });
}

inline Tensor sigmoid_backward(const Tensor& dy, const Tensor& x) {
    return map("sigmoid backward", dy, x, [](double d, double v) {
        const double s = sigmoid(v);
        return d * s * (1 - s);
    });
}

}  // namespace wavllm::kernels::f64
