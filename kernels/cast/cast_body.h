#pragma once
// The CUDA body of cast (cast.cu). All pointers are of the device.

#include "kernels/simt/body.h"
#include "tensor/dtype.h"

namespace wavllm::kernels {

/// One of the two dtypes is f32, the other bf16 or f16.
inline CudaBody<void(const void* x, DType from, void* y, DType to, int64_t n)> cast_body{"cast"};

}  // namespace wavllm::kernels
