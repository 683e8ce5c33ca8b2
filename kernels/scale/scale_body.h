#pragma once
// The CUDA body of scale (scale.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* x, float s, float* y, int64_t n)> scale_body{"scale"};

}  // namespace wavllm::kernels
