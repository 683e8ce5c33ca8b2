#pragma once
// The product element by element in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor mul(const Tensor& a, const Tensor& b) {
    return map("mul", a, b, [](double x, double y) { return x * y; });
}

}  // namespace wavllm::kernels::f64
