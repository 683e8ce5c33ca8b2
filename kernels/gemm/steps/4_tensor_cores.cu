// Step 4: a warp's instruction multiplies 16 x 16 by 16 x 8 in bf16 and adds in f32. Four warps make 64 x 64 elements, each
// 32 x 32 of them. Slices come by cp_async into one of two buffers while the other is multiplied: what moves does not pass
// through registers, and does not make the arithmetic wait.
//
// cp_async cannot convert, so f32 lines lie in shared memory as they are, and a lane rounds the pairs that its fragments
// want (kernels/simt/tensor_core.h has their layout): lane 4 g + t takes row g and columns 2 t, 2 t + 1. gemm_bf16.cuh gets
// bf16 from memory, loads fragments with ldmatrix and has more buffers.

#include "kernels/common/formats.cuh"
#include "kernels/gemm/steps/steps.h"
#include "kernels/simt/cuda.h"

namespace wavllm::kernels {

namespace {

constexpr int kTile = 64, kDepth = 16, kThreads = 128;
// Longer by 16 bytes, so that the rows of a fragment lie in different banks; the copies still meet by twos in a few.
constexpr int kALine = kDepth + 4, kBLine = kTile + 4;

/// Height lines of Width floats from (line, column); what is not there becomes zeros.
template <int Height, int Width, int Line>
__device__ __forceinline__ void copy_slice(const float* from, int64_t line, int64_t column, int64_t lines,
                                           int64_t columns, float* to) {
    for (int i = static_cast<int>(threadIdx.x); i < Height * Width; i += kThreads) {
        const int64_t l = line + i / Width, c = column + i % Width;
        const bool there = l < lines && c < columns;
        cp_async<4>(to + i / Width * Line + i % Width, there ? from + l * columns + c : from, there ? 4 : 0);
    }
    cp_async_commit();
}

__global__ void __launch_bounds__(kThreads)
    gemm_tensor_cores_kernel(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k, int64_t tiles) {
    WAVLLM_SHARED(float, as, [2][kTile * kALine]);
    WAVLLM_SHARED(float, bs, [2][kDepth * kBLine]);
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int g = lane / 4, t = lane % 4, row = warp / 2 * 32, column = warp % 2 * 32;
    const int64_t row0 = blockIdx.x / tiles * kTile, column0 = blockIdx.x % tiles * kTile;
    const auto load = [&](int64_t k0, int buffer) {
        copy_slice<kTile, kDepth, kALine>(a, row0, k0, m, k, as[buffer]);
        copy_slice<kDepth, kTile, kBLine>(b, k0, column0, k, n, bs[buffer]);
    };
    float sum[2][4][4] = {};
    load(0, 0);
    int now = 0;
    for (int64_t k0 = 0; k0 < k; k0 += kDepth, now ^= 1) {
        cp_async_wait<0>();
        __syncthreads();  // this slice is there, and the other buffer is free
        if (k0 + kDepth < k) load(k0 + kDepth, now ^ 1);
        uint32_t fa[2][4], fb[4][2];
        for (int i = 0; i < 2; ++i)
            for (int h = 0; h < 4; ++h) {
                const float* p = as[now] + (row + i * 16 + g + h % 2 * 8) * kALine + h / 2 * 8 + 2 * t;
                const float2 v = *reinterpret_cast<const float2*>(p);
                fa[i][h] = bf16_pair(v.x, v.y);
            }
        for (int j = 0; j < 4; ++j)
            for (int h = 0; h < 2; ++h) {
                const float* p = bs[now] + (h * 8 + 2 * t) * kBLine + column + j * 8 + g;
                fb[j][h] = bf16_pair(p[0], p[kBLine]);
            }
        for (int i = 0; i < 2; ++i)
            for (int j = 0; j < 4; ++j) mma_m16n8k16_bf16(sum[i][j], fa[i], fb[j]);
    }
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 4; ++j)
            for (int h = 0; h < 4; ++h) {
                const int64_t r = row0 + row + i * 16 + g + h / 2 * 8, s = column0 + column + j * 8 + 2 * t + h % 2;
                if (r < m && s < n) c[r * n + s] = sum[i][j][h];
            }
}

void gemm_tensor_cores(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k) {
    if (m * n == 0) return;
    const int64_t tiles = (n + kTile - 1) / kTile;
    launch(gemm_tensor_cores_kernel,
           {.grid = dim3(static_cast<unsigned>((m + kTile - 1) / kTile * tiles)),
            .block = kThreads,
            .name = "gemm step 4"},
           a, b, c, m, n, k, tiles);
}

WAVLLM_CUDA_BODY(gemm_tensor_cores_body, gemm_tensor_cores);

}  // namespace

}  // namespace wavllm::kernels
