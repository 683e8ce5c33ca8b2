#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y[r, j] = x[r, begin + j]: columns [begin, end) of x [..., C], copied together to [..., end - begin]. f32.
/// Throws ShapeError unless 0 <= begin <= end <= C.
Tensor slice_columns(const Tensor& x, int64_t begin, int64_t end);
/// dx[r, begin + j] += dy[r, j]; dx [..., C].
void slice_columns_backward(const Tensor& dy, int64_t begin, Tensor& dx);

/// y = [a | b] row by row: a [..., Ca], b [..., Cb] with the same rows -> [..., Ca + Cb]. f32. Backward is
/// slice_columns of dy.
Tensor concat_columns(const Tensor& a, const Tensor& b);

}  // namespace wavllm::kernels
