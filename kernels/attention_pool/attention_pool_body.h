#pragma once
// The CUDA body of attention_pool (attention_pool.cu). All pointers are of the device; borders: [sequences + 1]. Forward: y
// begins as zeros.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* x, const float* scores, const int64_t* borders, float* weights, float* y,
                     int64_t rows, int64_t sequences, int64_t channels)>
    attention_pool_body{"attention_pool"};
inline CudaBody<void(const float* dy, const float* weights, const int64_t* borders, float* dx, int64_t rows,
                     int64_t sequences, int64_t channels)>
    attention_pool_backward_x_body{"attention_pool backward of x"};
inline CudaBody<void(const float* dy, const float* x, const float* weights, const int64_t* borders, float* dscores,
                     int64_t rows, int64_t sequences, int64_t channels)>
    attention_pool_backward_scores_body{"attention_pool backward of scores"};

}  // namespace wavllm::kernels
