#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y[r,:] = (x[r,:] - mean) / sqrt(variance + eps) * w + b            LayerNorm, Ba et al. 2016, eq. 3-4
/// Mean and (biased) variance of each row in two passes. x, y: [..., D] f32; w, b: [D] f32. One fixed order of
/// summation per row: same bits for any batch and thread count. Throws ShapeError if w or b is not [D].
Tensor layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps);

/// dx like x. With n = (x - mean) r, r = 1/sqrt(variance + eps), g = w dy:  dx = r (g - mean(g) - n mean(g n)).
Tensor layer_norm_backward_x(const Tensor& dy, const Tensor& x, const Tensor& w, double eps);
/// dw += sum over rows of dy n, in row order (a batch cut in pieces gives the same bits).
void layer_norm_backward_w(const Tensor& dy, const Tensor& x, double eps, Tensor& dw);
/// db += sum over rows of dy, likewise.
void layer_norm_backward_b(const Tensor& dy, Tensor& db);

}  // namespace wavllm::kernels
