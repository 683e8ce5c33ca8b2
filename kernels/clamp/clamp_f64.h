#pragma once
// y = min(max(x, low), high) in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor clamp(const Tensor& x, double low, double high) {
    return map("clamp", x, [=](double v) { return v < low ? low : v > high ? high : v; });
}

inline Tensor clamp_backward(const Tensor& dy, const Tensor& x, double low, double high) {
    return map("clamp backward", dy, x, [=](double d, double v) { return low < v && v <= high ? d : 0; });
}

}  // namespace wavllm::kernels::f64
