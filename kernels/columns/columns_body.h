#pragma once
// The CUDA bodies of slice_columns and concat_columns (columns.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// x: rows of c floats from column `begin` on; y: rows of d.
inline CudaBody<void(const float* x, float* y, int64_t rows, int64_t c, int64_t d)> slice_columns_body{"slice_columns"};
inline CudaBody<void(const float* dy, float* dx, int64_t rows, int64_t c, int64_t d)> slice_columns_backward_body{
    "slice_columns backward"};
inline CudaBody<void(const float* a, const float* b, float* y, int64_t rows, int64_t ca, int64_t cb)>
    concat_columns_body{"concat_columns"};

}  // namespace wavllm::kernels
