// Step 3: a thread makes 4 x 4 elements of a block's 64 x 64. Eight floats from shared memory now serve 16 fma, and the
// compiler keeps the sums in registers. a's slice is stored turned, so that a thread's four rows are one load; its lines
// are four floats longer than they need to be: 16 lanes that write a column of it would meet in one bank otherwise, and
// still meet by twos. gemm_f32.cu has 8 x 8, no two lanes in a bank, and brings the next slice while this one is multiplied.

#include "kernels/common/floats.cuh"
#include "kernels/gemm/steps/steps.h"

namespace wavllm::kernels {

namespace {

constexpr int kTile = 64, kDepth = 16, kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    gemm_registers_kernel(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k, int64_t tiles) {
    WAVLLM_SHARED(float, as, [kDepth][kTile + 4]);
    WAVLLM_SHARED(float, bs, [kDepth][kTile]);
    const int t = static_cast<int>(threadIdx.x), x = t % 16 * 4, y = t / 16 * 4;
    const int64_t row0 = blockIdx.x / tiles * kTile, column0 = blockIdx.x % tiles * kTile;
    float sum[4][4] = {};
    for (int64_t k0 = 0; k0 < k; k0 += kDepth) {
        for (int i = t; i < kTile * kDepth; i += kThreads) {
            const int64_t row = row0 + i / kDepth, ka = k0 + i % kDepth;
            as[i % kDepth][i / kDepth] = row < m && ka < k ? a[row * k + ka] : 0.0f;
            const int64_t kb = k0 + i / kTile, column = column0 + i % kTile;
            bs[i / kTile][i % kTile] = kb < k && column < n ? b[kb * n + column] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int j = 0; j < kDepth; ++j) {
            const auto av = Floats<4>::load(&as[j][y]), bv = Floats<4>::load(&bs[j][x]);
#pragma unroll
            for (int r = 0; r < 4; ++r)
#pragma unroll
                for (int s = 0; s < 4; ++s) sum[r][s] = fmaf(av.v[r], bv.v[s], sum[r][s]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int s = 0; s < 4; ++s)
            if (row0 + y + r < m && column0 + x + s < n) c[(row0 + y + r) * n + column0 + x + s] = sum[r][s];
}

void gemm_registers(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k) {
    if (m * n == 0) return;
    const int64_t tiles = (n + kTile - 1) / kTile;
    launch(gemm_registers_kernel,
           {.grid = dim3(static_cast<unsigned>((m + kTile - 1) / kTile * tiles)),
            .block = kThreads,
            .name = "gemm step 3",
            .flops = 2.0 * static_cast<double>(m * n * k)},
           a, b, c, m, n, k, tiles);
}

WAVLLM_CUDA_BODY(gemm_registers_body, gemm_registers);

}  // namespace

}  // namespace wavllm::kernels
