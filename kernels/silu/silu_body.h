#pragma once
// The CUDA body of silu (silu.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* x, float* y, int64_t n)> silu_body{"silu"};
inline CudaBody<void(const float* dy, const float* x, float* dx, int64_t n)> silu_backward_body{"silu backward"};

}  // namespace wavllm::kernels
