#pragma once
// The exact GELU in double.

#include <numbers>

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor gelu(const Tensor& x) {
    return map("gelu", x, [](double v) { return v * 0.5 * std::erfc(-v / std::numbers::sqrt2); });
}

inline Tensor gelu_backward(const Tensor& dy, const Tensor& x) {
    return map("gelu backward", dy, x, [](double d, double v) {
        const double cdf = 0.5 * std::erfc(-v / std::numbers::sqrt2);
        const double density = std::exp(-v * v / 2) / std::sqrt(2 * std::numbers::pi);
        return d * (cdf + v * density);
    });
}

}  // namespace wavllm::kernels::f64
