#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y[t,:] = sum over l of p[l] x[l, t,:] with p = softmax(w): learnt mixing of the layers of an encoder (SUPERB, Yang
/// et al. 2021, section 3.2). x: [L, T, D] f32, w: [L] f32, y: [T, D]. Summed in the order of l. Throws ShapeError if x
/// is not of rank 3, L = 0, or w is not [L].
Tensor weighted_sum(const Tensor& x, const Tensor& w);
/// dx[l] = p[l] dy.
Tensor weighted_sum_backward_x(const Tensor& dy, const Tensor& w);
/// dw[l] += sum over rows t of p[l] (g[l, t] - sum over k of p[k] g[k, t]) with g[l, t] = dy[t,:] . x[l, t,:], in row
/// order (on a device as a tree set by T and D).
void weighted_sum_backward_w(const Tensor& dy, const Tensor& x, const Tensor& w, Tensor& dw);

}  // namespace wavllm::kernels
