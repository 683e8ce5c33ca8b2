#pragma once
// The CUDA body of decode_attention (decode_attention.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// q: [requests, heads, dh], caches: [requests, capacity, kv_heads, dh]; strides in elements, dh contiguous.
struct DeviceDecode {
    const float *q, *k, *v;
    int64_t q_request, q_head;
    int64_t k_request, k_key, k_head;
    int64_t v_request, v_key, v_head;
    const int64_t* lengths;
    int64_t requests, heads, kv_heads;
    int64_t longest;  ///< what the launch has room for; longer lengths are cut
    int dh;
    float scale;
};

/// Keys of a chunk, which is what a block has: fixed, so that a request's sums are cut the same whatever else is decoded.
inline constexpr int64_t kDecodeChunk = 64;

/// partial: workspace [requests, chunks, heads, dh], statistics [requests, chunks, heads, 2]; y: [requests, heads * dh].
inline CudaBody<void(const DeviceDecode& a, float* partial, float* statistics, float* y)> decode_attention_body{
    "decode_attention"};

}  // namespace wavllm::kernels
