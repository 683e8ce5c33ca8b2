#pragma once
// y[t,:] = x[t,:] + bias in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor add_bias(const Tensor& x, const Tensor& bias) {
    const In px("add_bias", "x", x), pb("add_bias", "bias", bias, {x.shape().last()});
    Tensor y = zeros(x.shape());
    double* py = y.mutable_data<double>();
    for (int64_t i = 0; i < y.numel(); ++i) py[i] = px[i] + pb[i % px.columns()];
    return y;
}

}  // namespace wavllm::kernels::f64
