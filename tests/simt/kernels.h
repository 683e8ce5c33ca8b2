#pragma once
// Entry points of the test kernels: correct.cu, broken.cu, counted.cu. All run on device memory of the emulator.

#include <cstdint>

#include "kernels/simt/body.h"

namespace wavllm::simt_tests {

// correct.cu
/// sums[b] = sum of the block's 256 elements of x.
inline CudaBody<void(const float* x, float* sums, int n)> block_sum{"block_sum"};
/// y (columns x rows) = transposed x (rows x columns), through a padded tile.
inline CudaBody<void(const float* x, float* y, int rows, int columns)> transpose{"transpose"};
/// y[i] = x[0] + ... + x[i] within each row of 32; one warp a row.
inline CudaBody<void(const int* x, int* y, int rows)> scan{"scan"};
/// Threads beyond n return before the barrier; y[i] = x[i] + x[0 of its block].
inline CudaBody<void(const float* x, float* y, int n)> early_return{"early_return"};
/// All four shuffles in segments of `width`; y: 4 x 32.
inline CudaBody<void(int* y, int width)> shuffles{"shuffles"};
/// counts[v] = how often v (0 to 63) stands in x.
inline CudaBody<void(const int* x, int* counts, int n)> histogram{"histogram"};
/// y = 2 x, by cp.async through two buffers.
inline CudaBody<void(const float* x, float* y, int n)> copy_twice{"copy_twice"};
/// c (16 x 8, f32) = a (16 x 16, bf16 or f16) b (16 x 8), by ldmatrix and mma.
inline CudaBody<void(const uint16_t* a, const uint16_t* b, float* c, bool bf16)> mma_tile{"mma_tile"};
/// out: 11 words a lane, of ballot, any, all, reduce, match, activemask, syncthreads_count, _and, _or.
inline CudaBody<void(unsigned* out)> votes{"votes"};
/// Two pairs of warps that each meet at a named barrier; y[i] = x of the thread at the other end of its pair.
inline CudaBody<void(const int* x, int* y)> named_barriers{"named_barriers"};
/// y = x + 1 with a spin lock around a counter; count ends as the number of threads.
inline CudaBody<void(int* lock, int* count, int threads)> spin_lock{"spin_lock"};
/// out[0] = sum of all n elements: blocks leave partial sums, the last one (by __threadfence and an atomic) adds them up.
inline CudaBody<void(const float* x, float* partial, unsigned* ticket, float* out, int n)> last_block_sum{
    "last_block_sum"};
/// Exchange between lanes of a warp through shared memory with __syncwarp.
inline CudaBody<void(const int* x, int* y, int n)> warp_exchange{"warp_exchange"};
/// y = x + 1 for x f32, f16 or bf16 pairs; neighbouring threads write neighbouring 16-bit elements.
inline CudaBody<void(const uint16_t* x, uint16_t* y, int n)> bf16_plus_one{"bf16_plus_one"};

// broken.cu: each makes one mistake
inline CudaBody<void(const char* which, float* memory, int n)> broken{"broken"};

// counted.cu
/// y[stride * i + offset] = x[stride * i + offset], i < 32.
inline CudaBody<void(const float* x, float* y, int stride, int offset)> strided{"strided"};
/// All lanes read x[0].
inline CudaBody<void(const float* x, float* y)> broadcast{"broadcast"};
/// 32 lanes copy one float4 each.
inline CudaBody<void(const float* x, float* y)> vectors{"vectors"};
/// The tile of a transpose, read by columns: [32][32] or padded [32][33].
inline CudaBody<void(float* y, bool padded)> columns_of_tile{"columns_of_tile"};
/// Shared memory read at stride * lane.
inline CudaBody<void(float* y, int stride)> shared_stride{"shared_stride"};
/// Lanes below 10 take another path.
inline CudaBody<void(const float* x, float* y)> divergent{"divergent"};

}  // namespace wavllm::simt_tests
