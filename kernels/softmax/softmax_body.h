#pragma once
// The CUDA body of softmax (softmax.cu), and the steps towards it (steps.cu). All pointers are of the device; rows of c
// floats, c > 0, lie one behind another.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

using SoftmaxForward = void(const float* x, float* y, int64_t rows, int64_t c);

inline CudaBody<SoftmaxForward> softmax_body{"softmax"};
inline CudaBody<void(const float* dy, const float* y, float* dx, int64_t rows, int64_t c)> softmax_backward_body{
    "softmax backward"};
/// The same result by a thread a row (naive), and by a block a row in three passes (better).
inline CudaBody<SoftmaxForward> softmax_naive_body{"softmax, naive"};
inline CudaBody<SoftmaxForward> softmax_better_body{"softmax, better"};

}  // namespace wavllm::kernels
