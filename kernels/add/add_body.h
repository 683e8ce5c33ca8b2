#pragma once
// The CUDA body of add (add.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// y may be a.
inline CudaBody<void(const float* a, const float* b, float* y, int64_t n)> add_body{"add"};

}  // namespace wavllm::kernels
