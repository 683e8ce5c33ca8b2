#pragma once
// The f32 tile that attention.cu and backward.cu are made of: Rows x Cols scores by a block of 256 threads, in a grid of
// 16 x 16. Thread (tx, ty) has rows ty * RT + r and columns tx + 16 c of the scores, and of the sums over columns the same
// rows and elements 4 tx + 64 n of a head.
//
// Every shared-memory access of a quarter of a warp is 128 bytes in 32 different banks, or one word for all: rows of heads
// are 4 floats longer than a multiple of 32, so that eight rows side by side, 16 bytes of each, meet in no bank; a row of
// scores is so long that the two halves of a warp, which write rows RT apart, use different halves of the banks.

#include "kernels/attention/sequence.cuh"

namespace wavllm::kernels {

template <int Dh_, int Rows_, int Cols_>
struct AttentionTile {
    static constexpr int Dh = Dh_, Rows = Rows_, Cols = Cols_;  // Dh: a head's room, a multiple of 64
    static constexpr int RT = Rows / 16, CT = Cols / 16, Chunks = Dh / 64;
    static constexpr int kThreads = 256;
    static constexpr int kHead = Dh + 4;  // floats from one row of a head to the next
    static constexpr int kScores = Cols + (RT * Cols % 32 == 16 ? 0 : 16 / RT);  // ... of scores
};

/// Rows of a head into shared memory, times factor; zeros in rows from `rows` on and behind dh, up to whole float4.
template <class Tile, int N>
static __device__ __forceinline__ void load_heads(float* to, const float* from, int64_t stride, int64_t rows, int dh,
                                                  float factor, bool vectors) {
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    for (int r = ty; r < N; r += 16)
        for (int d = 4 * tx; d < dh; d += 64) {
            float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            const float* p = from + r * stride + d;
            if (r < rows) {
                if (vectors) {
                    v = *reinterpret_cast<const float4*>(p);
                } else {
                    v.x = p[0];
                    if (d + 1 < dh) v.y = p[1];
                    if (d + 2 < dh) v.z = p[2];
                    if (d + 3 < dh) v.w = p[3];
                }
            }
            *reinterpret_cast<float4*>(to + r * Tile::kHead + d) =
                make_float4(v.x * factor, v.y * factor, v.z * factor, v.w * factor);
        }
}

/// s[r][c] = a_row . b_column: one chain of fused multiply-adds in the order of d.
template <class Tile>
static __device__ __forceinline__ void dot_products(const float* a, const float* b, int dh,
                                                    float (&s)[Tile::RT][Tile::CT]) {
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    a += ty * Tile::RT * Tile::kHead;
    b += tx * Tile::kHead;
#pragma unroll
    for (int r = 0; r < Tile::RT; ++r)
#pragma unroll
        for (int c = 0; c < Tile::CT; ++c) s[r][c] = 0;
    for (int d = 0; d < dh; d += 4) {
        float4 x[Tile::RT], y[Tile::CT];
#pragma unroll
        for (int r = 0; r < Tile::RT; ++r) x[r] = *reinterpret_cast<const float4*>(a + r * Tile::kHead + d);
#pragma unroll
        for (int c = 0; c < Tile::CT; ++c) y[c] = *reinterpret_cast<const float4*>(b + 16 * c * Tile::kHead + d);
#pragma unroll
        for (int r = 0; r < Tile::RT; ++r)
#pragma unroll
            for (int c = 0; c < Tile::CT; ++c) {
                s[r][c] = fmaf(x[r].x, y[c].x, s[r][c]);
                s[r][c] = fmaf(x[r].y, y[c].y, s[r][c]);
                s[r][c] = fmaf(x[r].z, y[c].z, s[r][c]);
                s[r][c] = fmaf(x[r].w, y[c].w, s[r][c]);
            }
    }
}

/// The bias of the distances that occur in a tile of scores: to[t] is that of first + t.
template <class Tile>
static __device__ __forceinline__ void load_distances(float* to, const DeviceAttention& a, int64_t head,
                                                      int64_t first) {
    for (int t = threadIdx.x; t < Tile::Rows + Tile::Cols - 1; t += Tile::kThreads) {
        const int64_t d = first + t, near = d < -a.reach ? -a.reach : d > a.reach ? a.reach : d;
        to[t] = a.by_distance[head * (2 * a.reach + 1) + a.reach + near];
    }
}

/// This thread's scores into shared memory. Only the 16 threads of a row read them: a __syncwarp() is enough.
template <class Tile>
static __device__ __forceinline__ void put_scores(float* to, const float (&s)[Tile::RT][Tile::CT]) {
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
#pragma unroll
    for (int r = 0; r < Tile::RT; ++r)
#pragma unroll
        for (int c = 0; c < Tile::CT; ++c) to[(ty * Tile::RT + r) * Tile::kScores + tx + 16 * c] = s[r][c];
}

/// o_row += sum over the first `count` columns of p[row][column] b_column, in order; b's rows are zeros up to the next
/// multiple of 4.
template <class Tile>
static __device__ __forceinline__ void add_product(const float* p, const float* b, int count, int dh,
                                                   float (&o)[Tile::RT][Tile::Chunks][4]) {
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    if (4 * tx >= dh) return;
    p += ty * Tile::RT * Tile::kScores;
    b += 4 * tx;
    for (int j = 0; j < count; j += 4) {
        float4 w[Tile::RT];
#pragma unroll
        for (int r = 0; r < Tile::RT; ++r) w[r] = *reinterpret_cast<const float4*>(p + r * Tile::kScores + j);
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int n = 0; n < Tile::Chunks; ++n) {
                if (n > 0 && 4 * tx + 64 * n >= dh) break;
                const float4 v = *reinterpret_cast<const float4*>(b + (j + i) * Tile::kHead + 64 * n);
#pragma unroll
                for (int r = 0; r < Tile::RT; ++r) {
                    const float pr = i == 0 ? w[r].x : i == 1 ? w[r].y : i == 2 ? w[r].z : w[r].w;
                    o[r][n][0] = fmaf(pr, v.x, o[r][n][0]);
                    o[r][n][1] = fmaf(pr, v.y, o[r][n][1]);
                    o[r][n][2] = fmaf(pr, v.z, o[r][n][2]);
                    o[r][n][3] = fmaf(pr, v.w, o[r][n][3]);
                }
            }
    }
}

/// Row ty * RT + r of o, times factor, to a row of a head in global memory.
template <class Tile>
static __device__ __forceinline__ void store_head(float* to, const float (&o)[Tile::Chunks][4], int dh, float factor) {
    const int tx = threadIdx.x % 16;
#pragma unroll
    for (int n = 0; n < Tile::Chunks; ++n) {
        const int d = 4 * tx + 64 * n;
        if (d >= dh) break;
        if (dh % 4 == 0) {
            *reinterpret_cast<float4*>(to + d) =
                make_float4(o[n][0] * factor, o[n][1] * factor, o[n][2] * factor, o[n][3] * factor);
        } else {
#pragma unroll
            for (int i = 0; i < 4; ++i)
                if (d + i < dh) to[d + i] = o[n][i] * factor;
        }
    }
}

template <class Tile>
static __device__ __forceinline__ void set_zero(float (&o)[Tile::RT][Tile::Chunks][4]) {
#pragma unroll
    for (int r = 0; r < Tile::RT; ++r)
#pragma unroll
        for (int n = 0; n < Tile::Chunks; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) o[r][n][i] = 0;
}

/// Over the 16 threads of a row; all get it.
static __device__ __forceinline__ float row_max(float v) {
    for (int distance = 8; distance > 0; distance /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, distance));
    return v;
}
static __device__ __forceinline__ float row_sum(float v) {
    for (int distance = 8; distance > 0; distance /= 2) v += __shfl_xor_sync(0xffffffffu, v, distance);
    return v;
}

}  // namespace wavllm::kernels
