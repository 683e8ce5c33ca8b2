#pragma once
// The CUDA bodies around conv1d's products (conv1d.cu). The convolution is a product whose left rows are windows of x
// (kernels/gemm/gemm_body.h), which no copy is made of.

#include "kernels/gemm/gemm_body.h"

namespace wavllm::kernels {

/// How sequences become frames; borders are of the device, [sequences + 1].
struct ConvShape {
    const int64_t* borders;
    int64_t sequences, stride, padding, taps, drop_last;
    int64_t channels;  ///< of a group
};

/// windows[r]: which part of x frame r sees, zeros beyond its sequence.
inline CudaBody<void(const ConvShape& shape, int64_t frames, Window* windows)> conv1d_windows_body{"conv1d windows"};
/// dx[t] = sum over taps of dcolumns[(t + padding - tap) / stride][tap], taps in order; dx: [rows, channels].
inline CudaBody<void(const ConvShape& shape, const float* dcolumns, int64_t rows, float* dx)> conv1d_fold_body{
    "conv1d backward of x"};
/// y [rows, n] += bias.
inline CudaBody<void(const float* bias, float* y, int64_t rows, int64_t n)> conv1d_bias_body{"conv1d bias"};
/// out [outer, b, a] = in [outer, a, b].
inline CudaBody<void(const float* in, int64_t outer, int64_t a, int64_t b, float* out)> conv1d_swap_body{
    "conv1d order of weights"};

}  // namespace wavllm::kernels
