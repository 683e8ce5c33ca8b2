#pragma once
// The CUDA body of cast (cast.cu). All pointers are of the device.

#include "kernels/simt/body.h"
#include "tensor/dtype.h"

namespace wavllm::kernels {

/// f32 to bf16 or f16, or one of bf16, f16, q8_0, q4_1 (n a multiple of 32) to f32.
inline CudaBody<void(const void* x, DType from, void* y, DType to, int64_t n)> cast_body{"cast"};

}  // namespace wavllm::kernels
