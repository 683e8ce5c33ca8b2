#pragma once
// A learned number times a tensor in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor scalar_mul(const Tensor& x, const Tensor& s) {
    const double factor = In("scalar_mul", "s", s, {1})[0];
    return map("scalar_mul", x, [factor](double v) { return factor * v; });
}

inline void scalar_mul_backward_s(const Tensor& dy, const Tensor& x, Tensor& ds) {
    const In px("scalar_mul backward", "x", x), pdy("scalar_mul backward", "dy", dy, x.shape());
    expect("scalar_mul backward", "ds", ds, {1}, DType::f64);
    double& sum = ds.mutable_data<double>()[0];
    for (int64_t i = 0; i < x.numel(); ++i) sum += pdy[i] * px[i];
}

}  // namespace wavllm::kernels::f64
