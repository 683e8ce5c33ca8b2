#pragma once
// The CUDA body of glu (glu.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// x: rows of [a | b], half floats each.
inline CudaBody<void(const float* x, float* y, int64_t rows, int64_t half)> glu_body{"glu"};
inline CudaBody<void(const float* dy, const float* x, float* dx, int64_t rows, int64_t half)> glu_backward_body{
    "glu backward"};

}  // namespace wavllm::kernels
