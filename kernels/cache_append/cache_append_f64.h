#pragma once
// New keys and values behind what a cache holds, in double. Shapes and lengths have been checked.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

/// rows: k or v [T, Hkv, Dh]; cache: [B, capacity, Hkv, Dh], possibly strided. borders and lengths as in cache_append().
inline void cache_append(const Tensor& rows, std::span<const int64_t> borders, const Tensor& lengths, Tensor& cache) {
    const In in("cache_append", "k or v", rows);
    const int64_t heads = cache.dim(2), dh = cache.dim(3);
    double* out = cache.mutable_data<double>();
    for (size_t b = 0; b + 1 < borders.size(); ++b)
        for (int64_t t = borders[b]; t < borders[b + 1]; ++t) {
            const auto request = static_cast<int64_t>(b);
            const int64_t key = lengths.data<int64_t>()[b] - (borders[b + 1] - t);
            for (int64_t h = 0; h < heads; ++h)
                for (int64_t d = 0; d < dh; ++d)
                    out[request * cache.stride(0) + key * cache.stride(1) + h * cache.stride(2) + d] =
                        in[(t * heads + h) * dh + d];
        }
}

}  // namespace wavllm::kernels::f64
