#pragma once
// The CUDA bodies of sum_all and sum_of_squares (sum_all.cu). All pointers are of the device unless said otherwise.
// chunks: workspace of sum_chunks(n) doubles (kernels/common/chunk_sums.h).

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* x, double* chunks, float* y, int64_t n)> sum_all_body{"sum_all"};
inline CudaBody<void(const float* dy, float* dx, int64_t n)> sum_all_backward_body{"sum_all backward"};

struct SquaresSlice {
    const float* x;
    int64_t n;
};
/// sums[i] = the sum of the squares of slice i. slices: on the host; chunks: of sum_chunks(n) doubles for each of them.
inline CudaBody<void(const SquaresSlice* slices, int64_t count, double* chunks, double* sums)> sums_of_squares_body{
    "sum_of_squares"};

}  // namespace wavllm::kernels
