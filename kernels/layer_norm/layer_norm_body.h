#pragma once
// The CUDA body of layer_norm (layer_norm.cu). All pointers are of the device; rows of d floats lie one behind another.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* x, const float* w, const float* b, float* y, int64_t rows, int64_t d, float eps)>
    layer_norm_body{"layer_norm"};
inline CudaBody<void(const float* dy, const float* x, const float* w, float* dx, int64_t rows, int64_t d, float eps)>
    layer_norm_backward_x_body{"layer_norm backward of x"};
/// moments: workspace of 2 * rows floats.
inline CudaBody<void(const float* dy, const float* x, float* moments, float* dw, int64_t rows, int64_t d, float eps)>
    layer_norm_backward_w_body{"layer_norm backward of w"};

}  // namespace wavllm::kernels
