#pragma once
// The CUDA body of gelu (gelu.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* x, float* y, int64_t n)> gelu_body{"gelu"};
inline CudaBody<void(const float* dy, const float* x, float* dx, int64_t n)> gelu_backward_body{"gelu backward"};

}  // namespace wavllm::kernels
