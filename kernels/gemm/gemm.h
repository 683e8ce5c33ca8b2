#pragma once
// The one matrix product of the CPU bodies: matmul, linear, lora_linear, conv1d and cross_entropy are all this.
//
// Every element of the result is one chain of fused multiply-adds over k = 0, 1, ..., K-1 (in f32). Tiles, threads and
// the number of rows decide only who computes an element, never how: the bits are the same for any batch and thread
// count, and a sum that is continued (accumulate) gives the bits of the sum made in one go.
//
// B is read from panels: 32 columns side by side, k after k, so that the inner loop streams. Frozen weights are packed
// once at load, in f32 or in bf16 (half the bytes; the left factor is then rounded to bf16 too, see gemm_bf16.h), or stay
// in the 4- or 8-bit blocks of their file and become bf16 on the way (gemm_blocks.h). The same panels serve the backward
// pass: see gemm_transposed.

#include "tensor/tensor.h"

namespace wavllm::kernels {

inline constexpr int64_t kPanel = 32;  ///< columns of a panel

/// A matrix B [K, N] in panels: element (k, n) stands at [n / 32][k][n % 32] in f32, in pairs along k in bf16 (see
/// gemm_bf16.h); columns beyond N are zero.
struct Panels {
    const void* data;
    DType dtype;  ///< f32, bf16, q4_1 or q8_0
    int64_t k, n;
};

/// Elements of the panels of a [K, N] matrix. Throws DTypeError for a dtype that panels cannot have.
int64_t panel_elements(int64_t k, int64_t n, DType dtype = DType::f32);
/// Packs B[k][n] = source[k * stride + n] (f32).
Panels pack_columns(const float* source, int64_t stride, int64_t k, int64_t n, float* panels);
/// Packs B[k][n] = source[n * stride + k]: the rows of a weight [N, K] become columns.
Panels pack_rows(const float* source, int64_t stride, int64_t k, int64_t n, float* panels);
/// The same from a weight of any floating dtype, contiguous [N, K] (block formats too), into f32 or bf16 panels.
Panels pack_weight(DType source_dtype, const void* source, int64_t k, int64_t n, DType panel_dtype, void* panels);

/// What happens to a finished chain `acc` of element (m, n) before it is stored in c.
struct Epilogue {
    bool accumulate = false;              ///< the chain starts from c instead of 0
    bool add_scaled = false;              ///< c = c + scale(n) * acc, one fma (LoRA: y = Wx + r * uB)
    float scale = 1.0f;                   ///< used by add_scaled
    const float* column_scale = nullptr;  ///< [N], instead of scale
    const float* bias = nullptr;          ///< [N]: c = acc + bias(n)
};

/// C [M, N] = A [M, K] B. a: row m starts at a + m * a_stride; c likewise.
void gemm(int64_t m, const float* a, int64_t a_stride, const Panels& b, float* c, int64_t c_stride,
          const Epilogue& epilogue = {});

/// C [M, K] = A [M, N] B^T for B [K, N] in panels: the gradient that goes back through a frozen weight, without a
/// second packed copy of it. The chain runs over n. Only `accumulate` of the epilogue is taken.
void gemm_transposed(int64_t m, const float* a, int64_t a_stride, const Panels& b, float* c, int64_t c_stride,
                     bool accumulate = false);

}  // namespace wavllm::kernels
