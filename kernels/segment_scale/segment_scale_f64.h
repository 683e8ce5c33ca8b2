#pragma once
// Each sequence's rows times a vector of its own, in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor segment_scale(const Tensor& x, const Tensor& r, const Tensor& borders) {
    const In px("segment_scale", "x", x);
    const auto b = borders_of("segment_scale", borders, px.rows());
    const int64_t n = px.columns();
    const In pr("segment_scale", "r", r, {static_cast<int64_t>(b.size()) - 1, n});
    Tensor y = zeros(x.shape());
    double* py = y.mutable_data<double>();
    for (size_t s = 0; s + 1 < b.size(); ++s)
        for (int64_t t = b[s]; t < b[s + 1]; ++t)
            for (int64_t i = 0; i < n; ++i) py[t * n + i] = px[t * n + i] * pr[static_cast<int64_t>(s) * n + i];
    return y;
}

inline void segment_scale_backward_r(const Tensor& dy, const Tensor& x, const Tensor& borders, Tensor& dr) {
    const In px("segment_scale backward", "x", x), pdy("segment_scale backward", "dy", dy, x.shape());
    const auto b = borders_of("segment_scale backward", borders, px.rows());
    const int64_t n = px.columns();
    expect("segment_scale backward", "dr", dr, {static_cast<int64_t>(b.size()) - 1, n}, DType::f64);
    double* pdr = dr.mutable_data<double>();
    for (size_t s = 0; s + 1 < b.size(); ++s)
        for (int64_t t = b[s]; t < b[s + 1]; ++t)
            for (int64_t i = 0; i < n; ++i) pdr[static_cast<int64_t>(s) * n + i] += pdy[t * n + i] * px[t * n + i];
}

}  // namespace wavllm::kernels::f64
