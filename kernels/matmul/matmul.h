#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// c = a b, or a b^T with transpose_b. a: [..., M, K]; b: [..., K, N] or [..., N, K]; both f32 contiguous with the same
/// leading dimensions (at most three); c: [..., M, N]. Each element is one chain of fused multiply-adds over k.
/// products: f32, or bf16: both factors are rounded to it, sums stay in f32 (kernels/gemm/gemm_bf16.h; on devices with CUDA
/// bodies kernels/gemm/gemm_body.h).
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_b = false, DType products = DType::f32);
/// da = dc b^T (or dc b).
Tensor matmul_backward_a(const Tensor& dc, const Tensor& b, bool transpose_b, DType products = DType::f32);
/// db += a^T dc (or dc^T a), continued in the order of a's rows.
void matmul_backward_b(const Tensor& dc, const Tensor& a, bool transpose_b, Tensor& db, DType products = DType::f32);

}  // namespace wavllm::kernels
