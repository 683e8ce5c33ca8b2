#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y[r,:] = x[r,:] * w / sqrt(mean(x[r,:]^2) + eps)            RMSNorm, Zhang & Sennrich 2019, eq. 4
/// x: [..., D] f32; w: [D] f32; y like x. One fixed order of summation per row: same bits for any batch and thread
/// count. Throws ShapeError if w is not [D].
Tensor rms_norm(const Tensor& x, const Tensor& w, double eps);

/// dx of the same shape as x. With r = 1/sqrt(mean(x^2) + eps):  dx = r w dy - x r^3 mean(x w dy).
Tensor rms_norm_backward_x(const Tensor& dy, const Tensor& x, const Tensor& w, double eps);
/// dw += sum over rows of dy x r, in row order (a batch cut in pieces gives the same bits).
void rms_norm_backward_w(const Tensor& dy, const Tensor& x, double eps, Tensor& dw);

}  // namespace wavllm::kernels
