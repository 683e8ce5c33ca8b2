#pragma once
// The CUDA body of sigmoid (sigmoid.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* x, float* y, int64_t n)> sigmoid_body{"sigmoid"};
inline CudaBody<void(const float* dy, const float* x, float* dx, int64_t n)> sigmoid_backward_body{"sigmoid backward"};

}  // namespace wavllm::kernels
