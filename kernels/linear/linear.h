#pragma once
#include <span>

#include "kernels/linear/packed_weight.h"

namespace wavllm::kernels {

/// y = x w^T + bias
/// x: [..., K] f32 contiguous; w: [N, K], packed (frozen) or a tensor of any floating dtype (block formats are
/// dequantised on the way in each call: pack what is used often); bias: [N] f32 or undefined; y: [..., N] f32. Throws
/// ShapeError if the sizes do not fit. Every y is one chain of fused multiply-adds over k. With a weight packed in bf16, x
/// (and dy in linear_backward_x) is rounded to bf16 too, see kernels/gemm/gemm_bf16.h. All on one device; on those with CUDA
/// bodies a step of the chain in bf16 is a 16-deep product of the tensor cores (kernels/gemm/gemm_body.h).
Tensor linear(const Tensor& x, const PackedWeight& w, const Tensor& bias = {});
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias = {});

/// y[i] = x w[i]^T for a few weights (at most 8) that read the same x, with the bits of one linear() each. For one row
/// or few and weights in blocks the threads wake once for all of them.
void linear_together(const Tensor& x, std::span<const PackedWeight* const> w, std::span<Tensor> y);

/// dx = dy w, [..., K].
Tensor linear_backward_x(const Tensor& dy, const PackedWeight& w);
Tensor linear_backward_x(const Tensor& dy, const Tensor& w);
/// dw += dy^T x, each element continued in row order.
void linear_backward_w(const Tensor& dy, const Tensor& x, Tensor& dw);
/// db += sum of the rows of dy, in row order.
void linear_backward_bias(const Tensor& dy, Tensor& db);

/// out [columns, rows] = in [rows, columns] transposed, both dense; for products whose left factor lies the wrong way.
void transpose(const float* in, int64_t rows, int64_t columns, float* out);

}  // namespace wavllm::kernels
