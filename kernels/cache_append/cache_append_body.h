#pragma once
// The CUDA body of cache_append (cache_append.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// Strides in elements; dh is contiguous.
struct DeviceAppend {
    const float *k, *v;
    float *k_cache, *v_cache;
    int64_t k_row, k_head, v_row, v_head;
    int64_t k_request, k_key, k_cache_head;
    int64_t v_request, v_key, v_cache_head;
    const int64_t *borders, *lengths;
    int64_t rows, requests, capacity, heads, dh;
};

inline CudaBody<void(const DeviceAppend& a)> cache_append_body{"cache_append"};

}  // namespace wavllm::kernels
