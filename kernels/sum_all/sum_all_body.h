#pragma once
// The CUDA bodies of sum_all and sum_of_squares (sum_all.cu). All pointers are of the device unless said otherwise.
// chunks: workspace of sum_chunks(n) doubles (kernels/common/chunk_sums.h).

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* x, double* chunks, float* y, int64_t n)> sum_all_body{"sum_all"};
inline CudaBody<void(const float* dy, float* dx, int64_t n)> sum_all_backward_body{"sum_all backward"};
inline CudaBody<void(const float* x, double* chunks, double* sum, int64_t n)> sum_of_squares_body{"sum_of_squares"};

}  // namespace wavllm::kernels
