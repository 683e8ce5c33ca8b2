#pragma once
// The CUDA body of scalar_mul (scalar_mul.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* x, const float* s, float* y, int64_t n)> scalar_mul_body{"scalar_mul"};
/// chunks: workspace of sum_chunks(n) doubles (kernels/common/chunk_sums.h).
inline CudaBody<void(const float* dy, const float* x, double* chunks, float* ds, int64_t n)> scalar_mul_backward_s_body{
    "scalar_mul backward of s"};

}  // namespace wavllm::kernels
