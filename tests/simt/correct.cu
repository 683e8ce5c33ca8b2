// Kernels without a mistake, one for each thing that the emulator must get right.

#include "kernels/simt/cuda.h"
#include "tests/simt/kernels.h"

namespace wavllm::simt_tests {
namespace {

constexpr unsigned all = 0xffffffffu;

template <class T>
__device__ T block_reduce(T v) {
    WAVLLM_SHARED(T, sums, [8]);
    for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(all, v, d);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = v;
    __syncthreads();
    T sum = 0;
    for (int i = 0; i < 8; ++i) sum += sums[i];
    __syncthreads();
    return sum;
}

__global__ void block_sum_kernel(const float* x, float* sums, int n) {
    const int i = blockIdx.x * 256 + threadIdx.x;
    const float v = i < n ? x[i] : 0.0f;
    const float sum = block_reduce(v);
    const int count = block_reduce(i < n ? 1 : 0);  // another instance of the template, another shared variable
    if (threadIdx.x == 0) sums[blockIdx.x] = count > 0 ? sum : -1.0f;
}
void block_sum_launch(const float* x, float* sums, int n) {
    launch(block_sum_kernel, {.grid = (n + 255) / 256, .block = 256}, x, sums, n);
}
WAVLLM_CUDA_BODY(block_sum, block_sum_launch);

__global__ void transpose_kernel(const float* __restrict__ x, float* __restrict__ y, int rows, int columns) {
    WAVLLM_SHARED(float, tile, [32][33]);
    const int column = blockIdx.x * 32 + threadIdx.x, row0 = blockIdx.y * 32;
    for (int r = threadIdx.y; r < 32; r += 8)
        if (row0 + r < rows && column < columns) tile[r][threadIdx.x] = x[(row0 + r) * columns + column];
    __syncthreads();
    const int out_column = row0 + threadIdx.x, out_row0 = blockIdx.x * 32;
    for (int r = threadIdx.y; r < 32; r += 8)
        if (out_row0 + r < columns && out_column < rows) y[(out_row0 + r) * rows + out_column] = tile[threadIdx.x][r];
}
void transpose_launch(const float* x, float* y, int rows, int columns) {
    const dim3 grid((columns + 31) / 32, (rows + 31) / 32);
    launch(transpose_kernel, {.grid = grid, .block = dim3(32, 8)}, x, y, rows, columns);
}
WAVLLM_CUDA_BODY(transpose, transpose_launch);

__global__ void scan_kernel(const int* x, int* y, int rows) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= rows) return;  // whole warps
    int v = x[row * 32 + lane];
    for (int d = 1; d < 32; d *= 2) {
        const int before = __shfl_up_sync(all, v, d);
        if (lane >= d) v += before;
    }
    y[row * 32 + lane] = v;
}
void scan_launch(const int* x, int* y, int rows) {
    launch(scan_kernel, {.grid = (rows + 3) / 4, .block = dim3(32, 4)}, x, y, rows);
}
WAVLLM_CUDA_BODY(scan, scan_launch);

__global__ void early_return_kernel(const float* x, float* y, int n) {
    WAVLLM_SHARED(float, first);
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    if (threadIdx.x == 0) first = x[i];
    __syncthreads();
    y[i] = x[i] + first;
}
void early_return_launch(const float* x, float* y, int n) {
    launch(early_return_kernel, {.grid = (n + 95) / 96, .block = 96}, x, y, n);
}
WAVLLM_CUDA_BODY(early_return, early_return_launch);

__global__ void shuffles_kernel(int* y, int width) {
    const int lane = threadIdx.x, value = 100 + lane;
    y[lane] = __shfl_sync(all, value, 5, width);
    y[32 + lane] = __shfl_up_sync(all, value, 3, width);
    y[64 + lane] = __shfl_down_sync(all, value, 3, width);
    y[96 + lane] = __shfl_xor_sync(all, value, 1, width);
}
void shuffles_launch(int* y, int width) {
    launch(shuffles_kernel, {.grid = 1, .block = 32}, y, width);
}
WAVLLM_CUDA_BODY(shuffles, shuffles_launch);

__global__ void histogram_kernel(const int* x, int* counts, int n) {
    WAVLLM_DYNAMIC_SHARED(int, mine);
    for (int i = threadIdx.x; i < 64; i += blockDim.x) mine[i] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&mine[x[i]], 1);
    __syncthreads();
    for (int i = threadIdx.x; i < 64; i += blockDim.x) atomicAdd(&counts[i], mine[i]);
}
void histogram_launch(const int* x, int* counts, int n) {
    launch(histogram_kernel, {.grid = 4, .block = 128, .shared_bytes = 64 * sizeof(int)}, x, counts, n);
}
WAVLLM_CUDA_BODY(histogram, histogram_launch);

__global__ void copy_twice_kernel(const float* x, float* y, int n) {
    WAVLLM_SHARED(float, buffer, [2][256]);
    const int t = threadIdx.x, tiles = (n + 255) / 256;
    const auto fetch = [&](int tile) {
        const int left = n - tile * 256 - 4 * t;  // elements that exist from here
        const int bytes = left >= 4 ? 16 : left > 0 ? 4 * left : 0;
        cp_async<16>(&buffer[tile % 2][4 * t], x + (bytes > 0 ? tile * 256 + 4 * t : 0), bytes);
        cp_async_commit();
    };
    fetch(0);
    for (int tile = 0; tile < tiles; ++tile) {
        if (tile + 1 < tiles) {
            fetch(tile + 1);
            cp_async_wait<1>();
        } else {
            cp_async_wait<0>();
        }
        __syncthreads();
        for (int i = t; i < 256 && tile * 256 + i < n; i += 64) y[tile * 256 + i] = 2 * buffer[tile % 2][i];
        __syncthreads();
    }
}
void copy_twice_launch(const float* x, float* y, int n) {
    launch(copy_twice_kernel, {.grid = 1, .block = 64}, x, y, n);
}
WAVLLM_CUDA_BODY(copy_twice, copy_twice_launch);

__global__ void mma_tile_kernel(const uint16_t* a, const uint16_t* b, float* c, bool bf16) {
    WAVLLM_SHARED(uint16_t, tile_a, [16][24]);  // rows of 48 bytes: ldmatrix meets each bank once
    WAVLLM_SHARED(uint16_t, tile_b, [16][8]);
    const int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) tile_a[i / 16][i % 16] = a[i];
    for (int i = lane; i < 128; i += 32) tile_b[i / 8][i % 8] = b[i];
    __syncwarp();
    uint32_t ra[4], rb[2];
    float d[4] = {0, 0, 0, 0};
    ldmatrix<4>(ra, &tile_a[lane % 16][lane / 16 * 8]);
    ldmatrix_trans<2>(rb, &tile_b[lane % 16][0]);
    if (bf16)
        mma_m16n8k16_bf16(d, ra, rb);
    else
        mma_m16n8k16_f16(d, ra, rb);
    const int g = lane / 4, t = lane % 4;
    c[g * 8 + 2 * t] = d[0];
    c[g * 8 + 2 * t + 1] = d[1];
    c[(g + 8) * 8 + 2 * t] = d[2];
    c[(g + 8) * 8 + 2 * t + 1] = d[3];
}
void mma_tile_launch(const uint16_t* a, const uint16_t* b, float* c, bool bf16) {
    launch(mma_tile_kernel, {.grid = 1, .block = 32}, a, b, c, bf16);
}
WAVLLM_CUDA_BODY(mma_tile, mma_tile_launch);

__global__ void votes_kernel(unsigned* out) {
    const int lane = threadIdx.x % 32, t = threadIdx.x;
    unsigned v[11];
    v[0] = __ballot_sync(all, lane % 3 == 0);
    v[1] = __any_sync(all, lane == 7);
    v[2] = __all_sync(all, lane < 31);
    v[3] = __reduce_add_sync(all, static_cast<unsigned>(lane));
    v[4] = static_cast<unsigned>(__reduce_min_sync(all, -lane));
    v[5] = __match_any_sync(all, lane % 4);
    int equal = 0;
    v[6] = __match_all_sync(all, lane / 32, &equal) + static_cast<unsigned>(equal);
    if (lane < 12)
        v[7] = __activemask();
    else
        v[7] = 0;
    __syncwarp();
    v[8] = __syncthreads_count(t < 40);
    v[9] = __syncthreads_and(t < 64);
    v[10] = __syncthreads_or(t == 64);
    for (int i = 0; i < 11; ++i) out[i * 64 + t] = v[i];
}
void votes_launch(unsigned* out) {
    launch(votes_kernel, {.grid = 1, .block = 64}, out);
}
WAVLLM_CUDA_BODY(votes, votes_launch);

__global__ void named_barriers_kernel(const int* x, int* y) {
    WAVLLM_SHARED(int, box, [128]);
    const int t = threadIdx.x, pair = t / 64;
    box[t] = x[t];
    named_barrier_sync(1 + pair, 64);
    y[t] = box[pair * 64 + 63 - t % 64];
}
void named_barriers_launch(const int* x, int* y) {
    launch(named_barriers_kernel, {.grid = 1, .block = 128}, x, y);
}
WAVLLM_CUDA_BODY(named_barriers, named_barriers_launch);

__global__ void spin_lock_kernel(int* lock, int* count) {
    bool done = false;
    while (!done) {
        if (atomicCAS(lock, 0, 1) == 0) {
            atomicExch(count, atomicAdd(count, 0) + 1);
            __threadfence();
            atomicExch(lock, 0);
            done = true;
        }
    }
}
void spin_lock_launch(int* lock, int* count, int threads) {
    launch(spin_lock_kernel, {.grid = 2, .block = threads / 2}, lock, count);
}
WAVLLM_CUDA_BODY(spin_lock, spin_lock_launch);

__global__ void last_block_sum_kernel(const float* x, float* partial, unsigned* ticket, float* out, int n) {
    WAVLLM_SHARED(bool, last);
    const int i = blockIdx.x * 256 + threadIdx.x;
    const float sum = block_reduce(i < n ? x[i] : 0.0f);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
        __threadfence();
        last = atomicAdd(ticket, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (!last || threadIdx.x != 0) return;
    float total = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) total += partial[b];  // in order: the same bits whichever block is last
    *out = total;
}
void last_block_sum_launch(const float* x, float* partial, unsigned* ticket, float* out, int n) {
    launch(last_block_sum_kernel, {.grid = (n + 255) / 256, .block = 256}, x, partial, ticket, out, n);
}
WAVLLM_CUDA_BODY(last_block_sum, last_block_sum_launch);

__global__ void warp_exchange_kernel(const int* x, int* y, int n) {
    WAVLLM_SHARED(int, box, [2][32]);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int i = threadIdx.x; i < n; i += 64) {
        box[warp][lane] = x[i];
        __syncwarp();
        y[i] = box[warp][31 - lane];
        __syncwarp();
    }
}
void warp_exchange_launch(const int* x, int* y, int n) {
    launch(warp_exchange_kernel, {.grid = 1, .block = 64}, x, y, n);
}
WAVLLM_CUDA_BODY(warp_exchange, warp_exchange_launch);

__global__ void bf16_plus_one_kernel(const __nv_bfloat16* x, __nv_bfloat16* y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = __float2bfloat16(__bfloat162float(x[i]) + 1.0f);
}
void bf16_plus_one_launch(const uint16_t* x, uint16_t* y, int n) {
    launch(bf16_plus_one_kernel, {.grid = (n + 63) / 64, .block = 64}, reinterpret_cast<const __nv_bfloat16*>(x),
           reinterpret_cast<__nv_bfloat16*>(y), n);
}
WAVLLM_CUDA_BODY(bf16_plus_one, bf16_plus_one_launch);

}  // namespace
}  // namespace wavllm::simt_tests
