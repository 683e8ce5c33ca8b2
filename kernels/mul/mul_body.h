#pragma once
// The CUDA body of mul (mul.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* a, const float* b, float* y, int64_t n)> mul_body{"mul"};

}  // namespace wavllm::kernels
