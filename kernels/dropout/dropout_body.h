#pragma once
// The CUDA body of dropout (dropout.cu).

#include "kernels/common/dropout_mask.h"
#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// All pointers are of the device; rows of d floats with a key each. y may be x.
inline CudaBody<void(const float* x, float* y, int64_t rows, int64_t d, const DropoutMask& mask)> dropout_body{
    "dropout"};

}  // namespace wavllm::kernels
