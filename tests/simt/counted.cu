// Kernels whose transactions and bank conflicts can be counted by hand.

#include "kernels/simt/cuda.h"
#include "tests/simt/kernels.h"

namespace wavllm::simt_tests {
namespace {

__global__ void strided_kernel(const float* x, float* y, int stride, int offset) {
    const int i = threadIdx.x * stride + offset;
    y[i] = x[i];
}
void strided_launch(const float* x, float* y, int stride, int offset) {
    launch(strided_kernel, {.grid = 1, .block = 32, .flops = 7}, x, y, stride, offset);
}
WAVLLM_CUDA_BODY(strided, strided_launch);

__global__ void broadcast_kernel(const float* x, float* y) {
    y[threadIdx.x] = x[0];
}
void broadcast_launch(const float* x, float* y) {
    launch(broadcast_kernel, {.grid = 1, .block = 32}, x, y);
}
WAVLLM_CUDA_BODY(broadcast, broadcast_launch);

__global__ void vectors_kernel(const float4* x, float4* y) {
    float4 v = x[threadIdx.x];
    v.x += v.w;
    y[threadIdx.x] = v;
}
void vectors_launch(const float* x, float* y) {
    launch(vectors_kernel, {.grid = 1, .block = 32}, reinterpret_cast<const float4*>(x), reinterpret_cast<float4*>(y));
}
WAVLLM_CUDA_BODY(vectors, vectors_launch);

template <int Width>
__global__ void columns_of_tile_kernel(float* y) {
    WAVLLM_SHARED(float, tile, [32][Width]);
    for (int r = 0; r < 32; ++r) tile[r][threadIdx.x] = static_cast<float>(r);
    __syncthreads();
    for (int c = 0; c < 32; ++c) y[c * 32 + threadIdx.x] = tile[threadIdx.x][c];
}
void columns_of_tile_launch(float* y, bool padded) {
    if (padded)
        launch(columns_of_tile_kernel<33>, {.grid = 1, .block = 32}, y);
    else
        launch(columns_of_tile_kernel<32>, {.grid = 1, .block = 32}, y);
}
WAVLLM_CUDA_BODY(columns_of_tile, columns_of_tile_launch);

__global__ void shared_stride_kernel(float* y, int stride) {
    WAVLLM_DYNAMIC_SHARED(float, s);
    for (int i = threadIdx.x; i < 32 * stride; i += 32) s[i] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x * stride];
}
void shared_stride_launch(float* y, int stride) {
    launch(shared_stride_kernel, {.grid = 1, .block = 32, .shared_bytes = sizeof(float) * 32 * stride}, y, stride);
}
WAVLLM_CUDA_BODY(shared_stride, shared_stride_launch);

__global__ void divergent_kernel(const float* x, float* y) {
    if (threadIdx.x < 10)
        y[threadIdx.x] = x[threadIdx.x] + 1;
    else
        y[threadIdx.x] = 2;
}
void divergent_launch(const float* x, float* y) {
    launch(divergent_kernel, {.grid = 1, .block = 32}, x, y);
}
WAVLLM_CUDA_BODY(divergent, divergent_launch);

}  // namespace
}  // namespace wavllm::simt_tests
