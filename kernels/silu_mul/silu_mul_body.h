#pragma once
// The CUDA body of silu_mul (silu_mul.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// x: rows of [gate | up], half floats each.
inline CudaBody<void(const float* x, float* y, int64_t rows, int64_t half)> silu_mul_body{"silu_mul"};
inline CudaBody<void(const float* dy, const float* x, float* dx, int64_t rows, int64_t half)> silu_mul_backward_body{
    "silu_mul backward"};

}  // namespace wavllm::kernels
