#pragma once
// The CUDA body of rope (rope.cu). All pointers are of the device; positions were checked on the CPU.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

struct RopeShape {
    int64_t rows, heads, half;        ///< half: pairs of a head
    int64_t row_stride, head_stride;  ///< of x, in floats; y is contiguous
};

/// cos, sin: [positions, half]; sign: of the sines.
using RopeRotate = void(const float* x, const int32_t* positions, const float* cos, const float* sin, float sign,
                        float* y, const RopeShape& shape);
inline CudaBody<RopeRotate> rope_half_split_body{"rope, half split"};
inline CudaBody<RopeRotate> rope_interleaved_body{"rope, interleaved"};

}  // namespace wavllm::kernels
