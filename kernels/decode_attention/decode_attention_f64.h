#pragma once
// Attention of one query a request over its cache, in double: attention of a sequence with one query.

#include "kernels/attention/attention_f64.h"
#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor decode_attention(const Tensor& q, const Tensor& k_cache, const Tensor& v_cache, const Tensor& lengths,
                               double scale) {
    Tensor y = zeros({q.dim(0), q.dim(1) * q.dim(2)});
    for (int64_t b = 0; b < q.dim(0); ++b) {
        const int64_t keys[] = {lengths.data<int64_t>()[b]}, one[] = {1};
        const auto held = [&](const Tensor& cache) { return cache.select(0, b).slice(0, 0, keys[0]); };
        y.slice(0, b, b + 1)
            .assign(attention(q.slice(0, b, b + 1), held(k_cache), held(v_cache),
                              {.q_borders = make_borders(one), .k_borders = make_borders(keys), .scale = scale})
                        .y);
    }
    return y;
}

}  // namespace wavllm::kernels::f64
