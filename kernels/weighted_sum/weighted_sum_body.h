#pragma once
// The CUDA body of weighted_sum (weighted_sum.cu). All pointers are of the device; x has `layers` arrays of n floats, p is
// workspace of `layers` floats for softmax(w), which each entry point computes.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* x, const float* w, float* p, float* y, int64_t layers, int64_t n)> weighted_sum_body{
    "weighted_sum"};
inline CudaBody<void(const float* dy, const float* w, float* p, float* dx, int64_t layers, int64_t n)>
    weighted_sum_backward_x_body{"weighted_sum backward of x"};
/// chunks: workspace of layers * (sum_chunks(n) + 1) doubles (kernels/common/chunk_sums.h).
inline CudaBody<void(const float* dy, const float* x, const float* w, float* p, double* chunks, float* dw,
                     int64_t layers, int64_t n)>
    weighted_sum_backward_w_body{"weighted_sum backward of w"};

}  // namespace wavllm::kernels
