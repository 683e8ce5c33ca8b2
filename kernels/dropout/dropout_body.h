#pragma once
// The CUDA body of dropout (dropout.cu), and what a kernel needs of a DropoutKey to make its masks (mask.cuh).

#include "kernels/simt/body.h"

namespace wavllm::kernels {

struct DropoutMask {
    uint32_t threshold;  ///< a number is kept if its 32 random bits are at least this
    float factor;        ///< 1 / (1 - p)
    uint32_t step, purpose;
    uint64_t seed;
};

/// All pointers are of the device; rows of d floats with a key each. y may be x.
inline CudaBody<void(const float* x, const int64_t* row_keys, float* y, int64_t rows, int64_t d,
                     const DropoutMask& mask)>
    dropout_body{"dropout"};

}  // namespace wavllm::kernels
