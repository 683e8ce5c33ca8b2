#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y[t, j] = silu(x[t, j]) * x[t, F + j]: the gated unit of Llama's MLP (SwiGLU, Shazeer 2020, eq. 6), fused.
/// gate_up x: [..., 2F] f32, gate in columns [0, F), up in [F, 2F); y: [..., F]. Throws ShapeError if the last
/// dimension is odd. The same bits as slice_columns, silu, mul.
Tensor silu_mul(const Tensor& gate_up);
/// d_gate_up [..., 2F] from dy [..., F], recomputing the sigmoid: d_up = dy silu(g), d_gate = dy up silu'(g).
Tensor silu_mul_backward(const Tensor& dy, const Tensor& gate_up);

}  // namespace wavllm::kernels
