#include "kernels/common/floats.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/rms_norm/rms_norm_body.h"

namespace wavllm::kernels {

namespace {

constexpr int kThreads = 256;  // one block a row: of 576 or 4096 floats each thread has one or four times four

__device__ __forceinline__ float inverse_rms(float squares, int64_t d, float eps) {
    return 1.0f / sqrtf(squares / static_cast<float>(d) + eps);
}

template <int V>
__global__ void rms_norm_kernel(const float* x, const float* w, float* y, int64_t d, float eps) {
    WAVLLM_SHARED(float, partial, [kThreads / 32]);
    x += blockIdx.x * d;
    y += blockIdx.x * d;
    float squares = 0;
    for (int64_t i = threadIdx.x * V; i < d; i += kThreads * V) {
        const auto a = Floats<V>::load(x + i);
        for (int k = 0; k < V; ++k) squares = fmaf(a.v[k], a.v[k], squares);
    }
    const float r = inverse_rms(block_sum(squares, partial), d, eps);
    for (int64_t i = threadIdx.x * V; i < d; i += kThreads * V) {
        auto a = Floats<V>::load(x + i);  // from the L1 cache this time
        const auto b = Floats<V>::load(w + i);
        for (int k = 0; k < V; ++k) a.v[k] = a.v[k] * r * b.v[k];
        a.store(y + i);
    }
}

template <int V>
__global__ void rms_norm_backward_x_kernel(const float* dy, const float* x, const float* w, float* dx, int64_t d,
                                           float eps) {
    WAVLLM_SHARED(float, partial_squares, [kThreads / 32]);
    WAVLLM_SHARED(float, partial_dots, [kThreads / 32]);
    const int64_t row = blockIdx.x * d;
    float squares = 0, dots = 0;
    for (int64_t i = threadIdx.x * V; i < d; i += kThreads * V) {
        const auto a = Floats<V>::load(x + row + i), b = Floats<V>::load(w + i), g = Floats<V>::load(dy + row + i);
        for (int k = 0; k < V; ++k) {
            squares = fmaf(a.v[k], a.v[k], squares);
            dots = fmaf(a.v[k] * b.v[k], g.v[k], dots);
        }
    }
    const float r = inverse_rms(block_sum(squares, partial_squares), d, eps);
    const float c = -r * r * r * block_sum(dots, partial_dots) / static_cast<float>(d);
    for (int64_t i = threadIdx.x * V; i < d; i += kThreads * V) {
        auto a = Floats<V>::load(x + row + i);
        const auto b = Floats<V>::load(w + i), g = Floats<V>::load(dy + row + i);
        for (int k = 0; k < V; ++k) a.v[k] = fmaf(a.v[k], c, r * b.v[k] * g.v[k]);
        a.store(dx + row + i);
    }
}

template <int V>
__global__ void inverse_rms_kernel(const float* x, float* scale, int64_t d, float eps) {
    WAVLLM_SHARED(float, partial, [kThreads / 32]);
    float squares = 0;
    for (int64_t i = threadIdx.x * V; i < d; i += kThreads * V) {
        const auto a = Floats<V>::load(x + blockIdx.x * d + i);
        for (int k = 0; k < V; ++k) squares = fmaf(a.v[k], a.v[k], squares);
    }
    squares = block_sum(squares, partial);
    if (threadIdx.x == 0) scale[blockIdx.x] = inverse_rms(squares, d, eps);
}

/// A block owns 32 columns: its warps share out the rows, and the first adds up what they found, warp by warp.
__global__ void rms_norm_backward_w_kernel(const float* dy, const float* x, const float* scale, float* dw, int64_t rows,
                                           int64_t d) {
    constexpr int kWarps = 8;
    WAVLLM_SHARED(float, partial, [kWarps][32]);
    const int64_t column = blockIdx.x * int64_t{32} + threadIdx.x;
    float sum = 0;
    if (column < d)
        for (int64_t row = threadIdx.y; row < rows; row += kWarps)
            sum = fmaf(dy[row * d + column] * x[row * d + column], scale[row], sum);
    partial[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || column >= d) return;
    for (int i = 1; i < kWarps; ++i) sum += partial[i][threadIdx.x];
    dw[column] += sum;
}

dim3 blocks_for(int64_t rows) {
    return dim3(static_cast<unsigned>(rows));
}

void forward(const float* x, const float* w, float* y, int64_t rows, int64_t d, float eps) {
    launch(d % 4 == 0 ? rms_norm_kernel<4> : rms_norm_kernel<1>,
           {.grid = blocks_for(rows), .block = kThreads, .name = "rms_norm"}, x, w, y, d, eps);
}

void backward_x(const float* dy, const float* x, const float* w, float* dx, int64_t rows, int64_t d, float eps) {
    launch(d % 4 == 0 ? rms_norm_backward_x_kernel<4> : rms_norm_backward_x_kernel<1>,
           {.grid = blocks_for(rows), .block = kThreads, .name = "rms_norm backward of x"}, dy, x, w, dx, d, eps);
}

void backward_w(const float* dy, const float* x, float* scale, float* dw, int64_t rows, int64_t d, float eps) {
    launch(d % 4 == 0 ? inverse_rms_kernel<4> : inverse_rms_kernel<1>,
           {.grid = blocks_for(rows), .block = kThreads, .name = "rms_norm inverse"}, x, scale, d, eps);
    launch(rms_norm_backward_w_kernel,
           {.grid = dim3(static_cast<unsigned>((d + 31) / 32)), .block = dim3(32, 8), .name = "rms_norm backward of w"},
           dy, x, scale, dw, rows, d);
}

WAVLLM_CUDA_BODY(rms_norm_body, forward);
WAVLLM_CUDA_BODY(rms_norm_backward_x_body, backward_x);
WAVLLM_CUDA_BODY(rms_norm_backward_w_body, backward_w);

}  // namespace

}  // namespace wavllm::kernels
