#pragma once
// The one matrix product of the CUDA bodies, as gemm.h is that of the CPU's. matmul, linear, lora_linear and conv1d
// describe what they want as a Product; this floor rounds what has to be rounded and launches.
//
// An element is one chain over k = 0, 1, ..., K-1. In f32 (gemm_f32.cu) that is a chain of fused multiply-adds, with the
// CPU's bits. In bf16 (gemm_bf16.cu) a step of the chain is one 16-deep product of the tensor cores: factors rounded to
// bf16, sums in f32. Tiles and the number of rows decide only who computes an element, so a row's bits do not depend on
// how many rows there are, and a chain over rows (a weight's gradient) that is cut (for bf16 at multiples of 16) and
// continued gives the bits of the whole.

#include "kernels/common/dropout_mask.h"
#include "kernels/simt/body.h"
#include "tensor/dtype.h"

namespace wavllm::kernels {

/// A line of a convolution's left factor is a window of x: columns [lo, hi) stand at begin + column, the rest is padding.
struct alignas(16) Window {
    int64_t begin;
    int32_t lo, hi;
};

/// A factor, stored in lines: rows of the left one or columns of the right one (the chain runs along a line), or one
/// line for each step of the chain (it runs across lines).
struct Lines {
    const void* data = nullptr;
    DType dtype = DType::f32;  ///< f32 or bf16; the right one also q4_1 or q8_0, in the file's blocks
    int64_t stride = 0;        ///< elements from line to line
    bool across = false;
    int64_t batch_stride = 0;         ///< elements from product to product
    const Window* windows = nullptr;  ///< instead of stride, one a line
};

/// Stride of lines of bf16 with `columns` elements: a multiple of 8, so that each begins on 16 bytes.
constexpr int64_t bf16_line(int64_t columns) {
    return (columns + 7) / 8 * 8;
}

/// Strength of a LoRA update by row: s, or r[request of the row][column].
struct RowScale {
    float s = 1;
    const float* r = nullptr;          ///< [requests, N]
    const int64_t* borders = nullptr;  ///< [requests + 1]
    int64_t requests = 0;
};

/// A second product for the same result, of the same orientation of rows: c = base + strength * drop(rows columns).
struct Update {
    Lines rows;        ///< [M, rank], along
    Lines columns;     ///< across where the product's right factor is along, and the other way round
    int64_t rank = 0;  ///< 0: there is none
    RowScale scale;
    DropoutMask mask;
};

struct Product {
    int64_t m = 0, n = 0, k = 0, batch = 1;
    Lines a, b;
    float* c = nullptr;
    int64_t c_stride = 0, c_batch_stride = 0;
    bool accumulate = false;      ///< the chain starts from c instead of 0
    const float* bias = nullptr;  ///< [N], added to the finished chain
    float factor = 1;             ///< then that is multiplied by it
    Update update;
};

inline CudaBody<void(const Product&)> gemm_f32_body{"gemm in f32"};
/// All factors bf16 (b also in blocks), lines 16-byte aligned with strides that are multiples of 8.
inline CudaBody<void(const Product&)> gemm_bf16_body{"gemm in bf16"};

/// out[r, :] = drop(in[r, :]) * scale(r), as f32 or rounded to bf16; zeros in columns [columns, out_stride).
struct RowsPass {
    Lines in;  ///< f32, along
    int64_t rows = 0, columns = 0;
    void* out = nullptr;
    DType dtype = DType::f32;
    int64_t out_stride = 0;
    DropoutMask mask;
    RowScale scale;
};
inline CudaBody<void(const RowsPass&)> rows_pass_body{"rounding of rows"};

}  // namespace wavllm::kernels
