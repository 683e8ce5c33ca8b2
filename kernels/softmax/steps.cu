// softmax's ladder. What each step costs is in the counters (docs/simt.md): sectors a request, and passes over x.

#include "kernels/common/math.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/softmax/softmax_body.h"

namespace wavllm::kernels {

namespace {

/// Naive: a thread a row, as one would write it for a CPU. Neighbouring threads read c floats apart, so each of the 32
/// loads of a warp moves a sector of 32 bytes for the sake of 4: eight times the traffic.
__global__ void __launch_bounds__(128) naive_kernel(const float* x, float* y, int64_t rows, int64_t c) {
    const int64_t row = blockIdx.x * int64_t{128} + threadIdx.x;
    if (row >= rows) return;
    const float* xr = x + row * c;
    float* yr = y + row * c;
    float largest = -INFINITY, sum = 0;
    for (int64_t i = 0; i < c; ++i) largest = fmaxf(largest, xr[i]);
    for (int64_t i = 0; i < c; ++i) sum += exp_same_bits(xr[i] - largest);
    const float inverse = 1.0f / sum;
    for (int64_t i = 0; i < c; ++i) yr[i] = exp_same_bits(xr[i] - largest) * inverse;
}

/// Better: a block a row. A warp's load is 128 neighbouring bytes, four sectors for 32 floats. What is left: three passes
/// over x instead of two, loads of 4 bytes instead of 16, and eight warps with two barriers where one warp would do.
__global__ void __launch_bounds__(256) better_kernel(const float* x, float* y, int64_t c) {
    WAVLLM_SHARED(float, largest_of_warp, [8]);
    WAVLLM_SHARED(float, sum_of_warp, [8]);
    const float* xr = x + blockIdx.x * c;
    float* yr = y + blockIdx.x * c;
    float largest = -INFINITY, sum = 0;
    for (int64_t i = threadIdx.x; i < c; i += 256) largest = fmaxf(largest, xr[i]);
    largest = block_max(largest, largest_of_warp);
    for (int64_t i = threadIdx.x; i < c; i += 256) sum += exp_same_bits(xr[i] - largest);
    const float inverse = 1.0f / block_sum(sum, sum_of_warp);
    for (int64_t i = threadIdx.x; i < c; i += 256) yr[i] = exp_same_bits(xr[i] - largest) * inverse;
}

void naive(const float* x, float* y, int64_t rows, int64_t c) {
    if (rows == 0) return;
    launch(naive_kernel,
           {.grid = dim3(static_cast<unsigned>((rows + 127) / 128)), .block = 128, .name = "softmax, naive"}, x, y,
           rows, c);
}

void better(const float* x, float* y, int64_t rows, int64_t c) {
    if (rows == 0) return;
    launch(better_kernel, {.grid = dim3(static_cast<unsigned>(rows)), .block = 256, .name = "softmax, better"}, x, y,
           c);
}

WAVLLM_CUDA_BODY(softmax_naive_body, naive);
WAVLLM_CUDA_BODY(softmax_better_body, better);

}  // namespace

}  // namespace wavllm::kernels
