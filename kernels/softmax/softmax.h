#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y[r,:] = e^(x[r,:] - max) / sum e^(x[r,:] - max) over the last dimension. x, y: [..., C] f32. Entries of -inf get 0;
/// a row of nothing else, or with a NaN, becomes NaN. Fixed order of summation per row. Throws ShapeError for C = 0.
Tensor softmax(const Tensor& x);
/// dx = y (dy - sum(dy y)) row by row, from the result y.
Tensor softmax_backward(const Tensor& dy, const Tensor& y);

}  // namespace wavllm::kernels
