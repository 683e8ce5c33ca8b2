// What stands around the product: rounding of rows (with dropout and strength on the way), widening of frozen formats, and
// sums of columns.

#include "kernels/common/dropout_mask.cuh"
#include "kernels/common/floats.cuh"
#include "kernels/gemm/lines.cuh"

namespace wavllm::kernels {

namespace {

constexpr int kThreads = 256;

unsigned blocks_of(int64_t items) {
    return static_cast<unsigned>((items + kThreads - 1) / kThreads);
}

/// V neighbouring columns a thread.
template <int V>
__global__ void rows_pass_kernel(RowsPass p) {
    const int64_t groups = (p.out_stride + V - 1) / V, at = blockIdx.x * int64_t{kThreads} + threadIdx.x;
    if (at >= p.rows * groups) return;
    const int64_t row = at / groups, column = at % groups * V;
    const float* from = static_cast<const float*>(p.in.data) + row * p.in.stride;
    int64_t lo = 0, hi = p.columns;
    if (p.in.windows != nullptr) {
        const Window w = load_window(p.in.windows + row);
        from = static_cast<const float*>(p.in.data) + w.begin;
        lo = w.lo;
        hi = w.hi;
    }
    Floats<V> v;
    for (int j = 0; j < V; ++j) v.v[j] = 0;
    if (column >= lo && column < hi) v = Floats<V>::load(from + column);  // both are multiples of V
    if (p.mask.row_keys != nullptr) {
        uint32_t bits[4];
        mask_bits(p.mask, row, column / 4, bits);
        if (V == 4) {
            for (int j = 0; j < V; ++j) v.v[j] = drop(p.mask, bits[j], v.v[j]);
        } else {
            const int64_t which = column % 4;
            v.v[0] = drop(p.mask, which == 0 ? bits[0] : which == 1 ? bits[1] : which == 2 ? bits[2] : bits[3], v.v[0]);
        }
    }
    if (p.scale.r != nullptr && column < p.columns) {
        const auto r = Floats<V>::load(p.scale.r + request_of(p.scale, row) * p.columns + column);
        for (int j = 0; j < V; ++j) v.v[j] *= r.v[j];
    }
    for (int j = 0; j < V; ++j) v.v[j] *= p.scale.s;
    if (p.dtype == DType::f32) return v.store(static_cast<float*>(p.out) + row * p.out_stride + column);
    uint16_t* to = static_cast<uint16_t*>(p.out) + row * p.out_stride + column;
    uint16_t rounded[V];
    for (int j = 0; j < V; ++j) rounded[j] = __bfloat16_as_ushort(__float2bfloat16_rn(v.v[j]));
    if constexpr (V == 4)
        *reinterpret_cast<ushort4*>(to) = make_ushort4(rounded[0], rounded[1], rounded[2], rounded[3]);
    else
        *to = rounded[0];
}

void rows_pass(const RowsPass& p) {
    if (p.rows == 0 || p.out_stride == 0) return;
    const bool wide = reinterpret_cast<uintptr_t>(p.in.data) % 16 == 0 && p.in.stride % 4 == 0 && p.columns % 4 == 0 &&
                      p.out_stride % 4 == 0 && reinterpret_cast<uintptr_t>(p.scale.r) % 16 == 0;
    if (wide)
        launch(rows_pass_kernel<4>,
               {.grid = blocks_of(p.rows * (p.out_stride / 4)), .block = kThreads, .name = "rounding of rows"}, p);
    else
        launch(rows_pass_kernel<1>,
               {.grid = blocks_of(p.rows * p.out_stride), .block = kThreads, .name = "rounding of rows"}, p);
}

__device__ __forceinline__ float half_at(const uint8_t* p) {
    return __half2float(__ushort_as_half(*reinterpret_cast<const unsigned short*>(p)));
}

__global__ void widen_kernel(DType dtype, const uint8_t* in, float* out, int64_t n) {
    const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
    if (i >= n) return;
    const int in_block = static_cast<int>(i % 32);
    if (dtype == DType::bf16) {
        out[i] = __uint_as_float(static_cast<uint32_t>(reinterpret_cast<const uint16_t*>(in)[i]) << 16);
    } else if (dtype == DType::f16) {
        out[i] = half_at(in + i * 2);
    } else if (dtype == DType::q4_1) {
        const uint8_t* block = in + i / 32 * 20;
        const int q = in_block < 16 ? block[4 + in_block] & 0xf : block[4 + in_block - 16] >> 4;
        out[i] = fmaf(static_cast<float>(q), half_at(block), half_at(block + 2));  // the product is exact
    } else {
        const uint8_t* block = in + i / 32 * 34;
        out[i] = static_cast<float>(static_cast<int8_t>(block[2 + in_block])) * half_at(block);
    }
}

void widen(DType dtype, const void* in, float* out, int64_t n) {
    if (n == 0) return;
    launch(widen_kernel, {.grid = blocks_of(n), .block = kThreads, .name = "widening to f32"}, dtype,
           static_cast<const uint8_t*>(in), out, n);
}

/// A block has 32 columns of a segment. Its eight warps bring 64 rows; the first adds them up one by one, in the order of
/// the CPU, while the others bring the next: an addition a row is not what takes the time.
template <bool Times>
__global__ void column_sums_kernel(const float* x, const float* y, const int64_t* borders, int64_t rows, int64_t n,
                                   int64_t tiles, float* sums) {
    constexpr int kRows = 64;
    WAVLLM_SHARED(float, left, [2][kRows][32]);
    WAVLLM_SHARED(float, right, [2][Times ? kRows : 1][32]);
    const int64_t segment = blockIdx.x / tiles, column = blockIdx.x % tiles * 32 + threadIdx.x;
    const int64_t begin = borders != nullptr ? borders[segment] : 0,
                  end = borders != nullptr ? borders[segment + 1] : rows;
    const bool there = column < n;
    float sum = threadIdx.y == 0 && there ? sums[segment * n + column] : 0.0f;
    int now = 0;
    for (int64_t row0 = begin; row0 < end; row0 += kRows, now ^= 1) {
#pragma unroll
        for (int i = 0; i < kRows / 8; ++i) {
            const int in_tile = i * 8 + static_cast<int>(threadIdx.y);
            const int64_t row = row0 + in_tile;
            const bool read = there && row < end;
            left[now][in_tile][threadIdx.x] = read ? x[row * n + column] : 0.0f;
            if constexpr (Times) right[now][in_tile][threadIdx.x] = read ? y[row * n + column] : 0.0f;
        }
        __syncthreads();  // the other half is free: the first warp came here only after it was through with it
        const int count = static_cast<int>(end - row0 < kRows ? end - row0 : kRows);
        if (threadIdx.y == 0)
            for (int i = 0; i < count; ++i) {
                if constexpr (Times)
                    sum = fmaf(left[now][i][threadIdx.x], right[now][i][threadIdx.x], sum);
                else
                    sum += left[now][i][threadIdx.x];
            }
    }
    if (threadIdx.y == 0 && there) sums[segment * n + column] = sum;
}

void column_sums(const float* x, const float* y, const int64_t* borders, int64_t segments, int64_t rows, int64_t n,
                 float* sums) {
    if (rows == 0 || n == 0 || segments == 0) return;
    const int64_t tiles = (n + 31) / 32;
    launch(y != nullptr ? column_sums_kernel<true> : column_sums_kernel<false>,
           {.grid = dim3(static_cast<unsigned>(tiles * segments)), .block = dim3(32, 8), .name = "sums of columns"}, x,
           y, borders, rows, n, tiles, sums);
}

WAVLLM_CUDA_BODY(rows_pass_body, rows_pass);
WAVLLM_CUDA_BODY(widen_body, widen);
WAVLLM_CUDA_BODY(column_sums_body, column_sums);

}  // namespace

}  // namespace wavllm::kernels
