#pragma once
// weights.h on the CPU, sixteen logits at a time.

#include <cmath>

#include "kernels/common/simd.h"
#include "kernels/sample/weights.h"

namespace wavllm::kernels {

/// Calls f(i, weight of e^((z[i] - largest) * factor)) for i = 0 .. n-1 in order.
template <class F>
void for_weights(const float* z, int64_t n, float largest, float factor, F&& f) {
    for_lanes(n, [&](int64_t i, auto lanes) {
        const vf x = (load(z + i, lanes) - largest) * factor, e = exp(x) * kWeightUnit;
        for (int64_t k = 0; k < lanes; ++k) f(i + k, x[k] >= kNoWeight ? static_cast<uint64_t>(e[k]) : uint64_t{0});
    });
}

/// What log_softmax of a row is made of: log_softmax(z)[i] = (z[i] - largest) - log_sum.
struct LogSoftmax {
    int64_t first_largest;
    float largest, log_sum;
    float at(float z) const {
        return (z - largest) - log_sum;
    }
};

inline LogSoftmax log_softmax_of(const float* z, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; ++i)
        if (sort_key(z[i]) > sort_key(z[best])) best = i;
    uint64_t total = 0;
    for_weights(z, n, z[best], 1.0f, [&](int64_t, uint64_t w) { total += w; });
    return {best, z[best], static_cast<float>(std::log(static_cast<double>(total) * 0x1p-40))};
}

}  // namespace wavllm::kernels
