// Keys and values of a step into the cache, both by one launch: a thread moves four neighbouring floats of each.

#include "kernels/cache_append/cache_append_body.h"
#include "kernels/common/borders.cuh"
#include "kernels/common/elementwise.cuh"

namespace wavllm::kernels {

namespace {

struct Append {
    DeviceAppend a;

    /// `of_heads` counts the heads of all rows.
    template <int V>
    __device__ void at(int64_t of_heads, int64_t column) const {
        const int64_t row = of_heads / a.heads, head = of_heads % a.heads;
        const int64_t request = part_of(a.borders, a.requests, row);
        const int64_t key = a.lengths[request] - (a.borders[request + 1] - row);
        if (key < 0 || key >= a.capacity) return;
        Floats<V>::load(a.k + row * a.k_row + head * a.k_head + column)
            .store(a.k_cache + request * a.k_request + key * a.k_key + head * a.k_cache_head + column);
        Floats<V>::load(a.v + row * a.v_row + head * a.v_head + column)
            .store(a.v_cache + request * a.v_request + key * a.v_key + head * a.v_cache_head + column);
    }
};

void append(const DeviceAppend& a) {
    bool wide = a.dh % 4 == 0 && aligned<4>(a.k, a.v, a.k_cache, a.v_cache);
    for (int64_t stride : {a.k_row, a.k_head, a.v_row, a.v_head, a.k_request, a.k_key, a.k_cache_head, a.v_request,
                           a.v_key, a.v_cache_head})
        wide = wide && stride % 4 == 0;
    launch_cells("cache_append", Append{a}, a.rows * a.heads, a.dh, wide);
}

WAVLLM_CUDA_BODY(cache_append_body, append);

}  // namespace

}  // namespace wavllm::kernels
