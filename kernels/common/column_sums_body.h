#pragma once
// The CUDA body of sums over rows (column_sums.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// sums[s][j] += sum over the rows of segment s of x[row][j], times y[row][j] unless y is null: row after row, as on the
/// CPU. x, y: [rows, n]; borders: [segments + 1], or null for one segment of all rows.
inline CudaBody<void(const float* x, const float* y, const int64_t* borders, int64_t segments, int64_t rows, int64_t n,
                     float* sums)>
    column_sums_body{"sums of columns"};

}  // namespace wavllm::kernels
