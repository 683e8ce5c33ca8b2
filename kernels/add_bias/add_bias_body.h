#pragma once
// The CUDA body of add_bias (add_bias.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* x, const float* bias, float* y, int64_t rows, int64_t n)> add_bias_body{"add_bias"};

}  // namespace wavllm::kernels
