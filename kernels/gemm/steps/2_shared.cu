// Step 2: a block makes 32 x 32 elements and brings the slices of a and b that they share into shared memory first. Each
// float from global memory now serves 32 fma. What limits is shared memory: still two loads an fma.

#include "kernels/gemm/steps/steps.h"
#include "kernels/simt/cuda.h"

namespace wavllm::kernels {

namespace {

constexpr int kTile = 32;

__global__ void gemm_shared_kernel(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k,
                                   int64_t tiles) {
    WAVLLM_SHARED(float, as, [kTile][kTile]);
    WAVLLM_SHARED(float, bs, [kTile][kTile]);
    const unsigned x = threadIdx.x, y = threadIdx.y;
    const int64_t row = blockIdx.x / tiles * kTile + y, column = blockIdx.x % tiles * kTile + x;
    float sum = 0;
    for (int64_t k0 = 0; k0 < k; k0 += kTile) {
        as[y][x] = row < m && k0 + x < k ? a[row * k + k0 + x] : 0.0f;  // zeros beyond the edge add nothing
        bs[y][x] = k0 + y < k && column < n ? b[(k0 + y) * n + column] : 0.0f;
        __syncthreads();  // the slice is there
        for (int j = 0; j < kTile; ++j) sum = fmaf(as[y][j], bs[j][x], sum);
        __syncthreads();  // and nobody needs it any more
    }
    if (row < m && column < n) c[row * n + column] = sum;
}

void gemm_shared(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k) {
    if (m * n == 0) return;
    const int64_t tiles = (n + kTile - 1) / kTile;
    launch(gemm_shared_kernel,
           {.grid = dim3(static_cast<unsigned>((m + kTile - 1) / kTile * tiles)),
            .block = dim3(kTile, kTile),
            .name = "gemm step 2",
            .flops = 2.0 * static_cast<double>(m * n * k)},
           a, b, c, m, n, k, tiles);
}

WAVLLM_CUDA_BODY(gemm_shared_body, gemm_shared);

}  // namespace

}  // namespace wavllm::kernels
