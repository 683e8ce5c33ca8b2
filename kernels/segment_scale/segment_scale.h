#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y[t,:] = x[t,:] * r[s,:] where row t belongs to sequence s: one vector a request (eq. 5 of the paper, the product
/// with r). x: [T, N]; r: [S, N]; borders: i64 [S+1].
Tensor segment_scale(const Tensor& x, const Tensor& r, const Tensor& borders);
/// dr[s,:] += sum over the rows of s, in order, of dy * x.
void segment_scale_backward_r(const Tensor& dy, const Tensor& x, const Tensor& borders, Tensor& dr);

}  // namespace wavllm::kernels
