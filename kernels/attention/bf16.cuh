#pragma once
// What the tensor-core kernels of attention share. Heads come packed in bf16, [rows, heads, Dh] with Dh 64, 128 or 256; a
// warp has 16 rows of a tile and all its columns, in the fragments of kernels/simt/tensor_core.h: of each 16 x 8 piece of
// scores or sums a lane has rows g and g + 8 and columns 2t, 2t + 1, with g = lane / 4 and t = lane % 4.
//
// Scores never leave the registers: two neighbouring 16 x 8 results, rounded, are the left factor of the next product.

#include "kernels/attention/sequence.cuh"
#include "kernels/common/formats.cuh"

namespace wavllm::kernels {

/// Parts: how many warps share 16 rows, each with its part of a head's elements (a head of 256 is too long for the
/// registers of one); they all compute the same scores.
template <int Dh_, int Cols_, int Parts_>
struct TensorTile {
    static constexpr int Dh = Dh_, Cols = Cols_, Parts = Parts_;
    static constexpr int Rows = 64, Width = Dh / Parts;
    static constexpr int kThreads = 128 * Parts;
    /// Elements from one row to the next in shared memory. 16 bytes more than a multiple of 128, so that the eight rows
    /// that one ldmatrix reads lie in different banks.
    static constexpr int kHead = Dh + 8;

    static __device__ __forceinline__ int first_row() {  // of this warp
        return threadIdx.x / 32 % 4 * 16;
    }
    static __device__ __forceinline__ int first_element() {
        return threadIdx.x / 128 * Width;
    }
};

/// Starts to copy N packed rows; rows from `rows` on become zeros. `stride`: elements from one row to the next.
template <class Tile, int N>
static __device__ __forceinline__ void fetch_heads(__nv_bfloat16* to, const __nv_bfloat16* from, int64_t stride,
                                                   int64_t rows) {
    constexpr int kPieces = Tile::Dh / 8;  // of 16 bytes
    for (int i = threadIdx.x; i < N * kPieces; i += Tile::kThreads) {
        const int row = i / kPieces, d = i % kPieces * 8;
        const bool real = row < rows;
        cp_async<16>(to + row * Tile::kHead + d, from + (real ? row * stride : 0) + d, real ? 16 : 0);
    }
}

/// A float that goes with a row of a tile: one of the four behind the head, which no product reads. Of 32 rows, as they are
/// written, and of the rows 2t of a fragment, as they are read, no two lie in one bank.
template <class Tile>
static __device__ __forceinline__ float* behind_head(__nv_bfloat16* tile, int row) {
    return reinterpret_cast<float*>(tile + row * Tile::kHead + Tile::Dh) + row / 8 % 4;
}

/// s = a b^T for the warp's 16 rows of a and Cols rows of b.
template <class Tile>
static __device__ __forceinline__ void tensor_scores(const __nv_bfloat16* a, const __nv_bfloat16* b,
                                                     float (&s)[Tile::Cols / 8][4]) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < Tile::Cols / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) s[n][i] = 0;
    a += (Tile::first_row() + lane % 16) * Tile::kHead + lane / 16 * 8;
    b += (lane / 16 * 8 + lane % 8) * Tile::kHead + lane / 8 % 2 * 8;
#pragma unroll
    for (int d = 0; d < Tile::Dh; d += 16) {
        uint32_t left[4];
        ldmatrix<4>(left, a + d);
#pragma unroll
        for (int n = 0; n < Tile::Cols / 16; ++n) {
            uint32_t right[4];
            ldmatrix<4>(right, b + 16 * n * Tile::kHead + d);
            const uint32_t even[2] = {right[0], right[1]}, odd[2] = {right[2], right[3]};
            mma_m16n8k16_bf16(s[2 * n], left, even);
            mma_m16n8k16_bf16(s[2 * n + 1], left, odd);
        }
    }
}

/// o += round(p) b for the warp's 16 rows of p, Cols rows of b and the warp's part of a head.
template <class Tile>
static __device__ __forceinline__ void tensor_sums(const float (&p)[Tile::Cols / 8][4], const __nv_bfloat16* b,
                                                   float (&o)[Tile::Width / 8][4]) {
    const int lane = threadIdx.x % 32;
    b += lane % 16 * Tile::kHead + lane / 16 * 8 + Tile::first_element();
#pragma unroll
    for (int k = 0; k < Tile::Cols / 16; ++k) {
        const uint32_t left[4] = {bf16_pair(p[2 * k][0], p[2 * k][1]), bf16_pair(p[2 * k][2], p[2 * k][3]),
                                  bf16_pair(p[2 * k + 1][0], p[2 * k + 1][1]),
                                  bf16_pair(p[2 * k + 1][2], p[2 * k + 1][3])};
#pragma unroll
        for (int n = 0; n < Tile::Width / 16; ++n) {
            uint32_t right[4];
            ldmatrix_trans<4>(right, b + 16 * k * Tile::kHead + 16 * n);
            const uint32_t even[2] = {right[0], right[1]}, odd[2] = {right[2], right[3]};
            mma_m16n8k16_bf16(o[2 * n], left, even);
            mma_m16n8k16_bf16(o[2 * n + 1], left, odd);
        }
    }
}

template <int N>
static __device__ __forceinline__ void set_zero(float (&o)[N][4]) {
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) o[n][i] = 0;
}

/// Elements `half` (0: row g, 1: row g + 8) of o, times factor, to a row of a head of dh floats in global memory: pieces of
/// 32 bytes by the four lanes of a row.
template <class Tile>
static __device__ __forceinline__ void store_tensor_row(float* to, const float (&o)[Tile::Width / 8][4], int half,
                                                        int dh, float factor) {
#pragma unroll
    for (int n = 0; n < Tile::Width / 8; ++n) {
        const int d = Tile::first_element() + 8 * n + threadIdx.x % 4 * 2;
        const float low = o[n][2 * half] * factor, high = o[n][2 * half + 1] * factor;
        if (dh % 2 == 0) {
            if (d < dh) *reinterpret_cast<float2*>(to + d) = make_float2(low, high);
        } else {
            if (d < dh) to[d] = low;
            if (d + 1 < dh) to[d + 1] = high;
        }
    }
}

/// to[row, head, :] = round(factor * x[row, head, :]), zeros behind dh. A thread makes four elements: its neighbours' loads
/// and stores then lie side by side.
static __global__ void pack_heads_kernel(DeviceHeads x, int64_t heads, int dh, int width, int64_t pieces, float factor,
                                         bool vectors, __nv_bfloat16* to) {
    const int64_t i = blockIdx.x * int64_t{256} + threadIdx.x;
    if (i >= pieces) return;
    const int per_row = width / 4, d = static_cast<int>(i % per_row) * 4;
    const int64_t row = i / per_row / heads, head = i / per_row % heads;
    const float* from = x.p + row * x.row + head * x.head + d;
    float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (vectors && d < dh) {
        v = *reinterpret_cast<const float4*>(from);
    } else {
        if (d < dh) v.x = from[0];
        if (d + 1 < dh) v.y = from[1];
        if (d + 2 < dh) v.z = from[2];
        if (d + 3 < dh) v.w = from[3];
    }
    *reinterpret_cast<uint2*>(to + 4 * i) =
        make_uint2(bf16_pair(v.x * factor, v.y * factor), bf16_pair(v.z * factor, v.w * factor));
}

static inline void pack_heads(const DeviceHeads& x, int64_t rows, int64_t heads, int dh, float factor, void* to) {
    const int64_t width = packed_head_width(dh), pieces = rows * heads * width / 4;
    if (pieces == 0) return;
    launch(pack_heads_kernel,
           {.grid = dim3(static_cast<unsigned>((pieces + 255) / 256)), .block = 256, .name = "attention pack"}, x,
           heads, dh, static_cast<int>(width), pieces, factor, in_vectors(x, dh), static_cast<__nv_bfloat16*>(to));
}

}  // namespace wavllm::kernels
