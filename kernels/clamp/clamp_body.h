#pragma once
// The CUDA body of clamp (clamp.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* x, float low, float high, float* y, int64_t n)> clamp_body{"clamp"};
inline CudaBody<void(const float* dy, const float* x, float low, float high, float* dx, int64_t n)> clamp_backward_body{
    "clamp backward"};

}  // namespace wavllm::kernels
