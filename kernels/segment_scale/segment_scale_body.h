#pragma once
// The CUDA body of segment_scale (segment_scale.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// borders: of `segments` sequences; rows of n floats.
inline CudaBody<void(const float* x, const float* r, const int64_t* borders, float* y, int64_t rows, int64_t n,
                     int64_t segments)>
    segment_scale_body{"segment_scale"};

}  // namespace wavllm::kernels
