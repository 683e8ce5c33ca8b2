#include "kernels/linear/case_weights.h"

#include <algorithm>
#include <cmath>

namespace wavllm {

DType packed_dtype(const Params& p) {
    for (const DType dtype : {DType::int8, DType::q8_0, DType::q4_1, DType::q4_0, DType::bf16})
        if (p.flag(std::string(name(dtype)))) return dtype;
    return DType::f32;
}

Tensor on_grid(const Tensor& w, DType dtype) {
    if (dtype == DType::f32) return w;
    if (dtype == DType::bf16) return w.to(DType::bf16).to(DType::f32);
    Tensor grid = w.clone();
    const bool eight = dtype == DType::int8 || dtype == DType::q8_0;
    const int64_t k = w.dim(1);
    float* x = grid.mutable_data<float>();
    for (int64_t b = 0; b < w.numel() / 32; ++b, x += 32) {
        // powers of two as scales, another one in every second block; each block has the values that the scale comes from
        const float d = std::ldexp(1.0f, (eight ? -9 : -5) - (dtype == DType::int8 ? 0 : static_cast<int>(b % 2)));
        const auto sign = static_cast<float>(b % 3 == 0 ? -1 : 1);
        const auto low = static_cast<float>(eight ? -127 : dtype == DType::q4_1 ? -4 - b % 7 : -7);
        const float high = eight ? 127 : dtype == DType::q4_1 ? low + 15 : 7;
        for (int i = 0; i < 32; ++i) x[i] = d * std::clamp(std::nearbyint(x[i] / d), low, high);
        if (dtype == DType::q4_1) {
            x[3] = d * low;
            x[17] = d * high;
        } else if (dtype == DType::q4_0) {
            x[5] = sign * 8 * d;
        } else if (dtype == DType::q8_0 || b % (k / 32) == 0) {
            x[9] = sign * 127 * d;
        }
    }
    return grid;
}

}  // namespace wavllm
