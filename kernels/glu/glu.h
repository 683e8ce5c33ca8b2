#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y[t, j] = x[t, j] * sigmoid(x[t, C + j]): gated linear unit over the channels (Dauphin et al. 2017, eq. 1), fused.
/// x: [..., 2C] f32, y: [..., C]. Throws ShapeError if the last dimension is odd. The same bits as slice_columns,
/// sigmoid, mul.
Tensor glu(const Tensor& x);
/// dx [..., 2C] from dy [..., C]: with s = sigmoid(b), da = dy s, db = dy a s (1 - s).
Tensor glu_backward(const Tensor& dy, const Tensor& x);

}  // namespace wavllm::kernels
