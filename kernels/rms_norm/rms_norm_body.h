#pragma once
// The CUDA body of rms_norm (rms_norm.cu). All pointers are of the device; rows of d floats lie one behind another.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline CudaBody<void(const float* x, const float* w, float* y, int64_t rows, int64_t d, float eps)> rms_norm_body{
    "rms_norm"};
inline CudaBody<void(const float* dy, const float* x, const float* w, float* dx, int64_t rows, int64_t d, float eps)>
    rms_norm_backward_x_body{"rms_norm backward of x"};
/// scale: workspace of `rows` floats.
inline CudaBody<void(const float* dy, const float* x, float* scale, float* dw, int64_t rows, int64_t d, float eps)>
    rms_norm_backward_w_body{"rms_norm backward of w"};

}  // namespace wavllm::kernels
