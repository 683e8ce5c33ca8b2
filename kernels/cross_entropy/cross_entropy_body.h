#pragma once
// The CUDA bodies of cross_entropy (cross_entropy.cu): what happens to rows of logits. All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// Rows of n logits, `stride` floats apart; targets within [0, n).
struct DeviceLogits {
    const float* z;
    int64_t rows, n, stride;
    const int32_t* targets;
};

/// losses[i] = log(sum of exp(z_i)) - z_i[target]. gradient (null: not wanted; may be z itself) <- scale * (softmax(z_i) -
/// onehot(target)).
inline CudaBody<void(const DeviceLogits& logits, float scale, float* losses, float* gradient)> cross_entropy_rows_body{
    "cross_entropy"};
/// gradient <- dlosses[i] * (softmax(z_i) - onehot(target)).
inline CudaBody<void(const DeviceLogits& logits, const float* dlosses, float* gradient)> cross_entropy_backward_body{
    "cross_entropy backward"};

}  // namespace wavllm::kernels
