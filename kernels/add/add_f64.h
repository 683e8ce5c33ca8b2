#pragma once
// The residual add in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor add(const Tensor& a, const Tensor& b) {
    return map("add", a, b, [](double x, double y) { return x + y; });
}

inline void add_(Tensor& a, const Tensor& b) {
    const In from("add", "b", b, a.shape());
    expect("add", "a", a, DType::f64);
    double* to = a.mutable_data<double>();
    for (int64_t i = 0; i < a.numel(); ++i) to[i] += from[i];
}

}  // namespace wavllm::kernels::f64
