#pragma once
// Rotary position embedding in double: a pair as a complex number, times e^(i angle). Sizes have been checked.

#include "kernels/common/f64.h"
#include "kernels/rope/rope.h"

namespace wavllm::kernels::f64 {

inline Tensor rope(const Tensor& x, const Tensor& positions, const RopeTable& table, RopeLayout layout, bool inverse) {
    const In px("rope", "x", x), cosine("rope", "cos", table.cos), sine("rope", "sin", table.sin, table.cos.shape());
    const int64_t rows = x.dim(0), heads = x.dim(1), dh = x.dim(2), half = dh / 2;
    const int32_t* at = positions.data<int32_t>();
    Tensor y = zeros(x.shape());
    double* py = y.mutable_data<double>();
    for (int64_t row = 0; row < rows * heads; ++row)
        for (int64_t i = 0; i < half; ++i) {
            const int64_t angle = at[row / heads] * half + i;
            const double c = cosine[angle], s = inverse ? -sine[angle] : sine[angle];
            const int64_t a = row * dh + (layout == RopeLayout::interleaved ? 2 * i : i),
                          b = layout == RopeLayout::interleaved ? a + 1 : a + half;
            py[a] = px[a] * c - px[b] * s;
            py[b] = px[a] * s + px[b] * c;
        }
    return y;
}

}  // namespace wavllm::kernels::f64
