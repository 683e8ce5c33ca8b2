#pragma once
// Building blocks of the attention kernels: the register tile that every product goes through, a lean 2^x, and packing.
// Every element of a product is one chain of fused multiply-adds in the order of k: its bits do not depend on where in
// a tile it lies, on the tile's size, or on zeros that pad it.

#include <algorithm>

#include "kernels/common/simd.h"
#include "tensor/tensor.h"

namespace wavllm::kernels::attention_tile {

inline constexpr int kRows = 6;           // rows of a register tile: 6 x 4 accumulators, 4 vectors, 1 broadcast
inline constexpr int kMaxVectors = 4;     // columns of a register tile, in vectors
inline constexpr int64_t kBlock = 48;     // queries in a tile and keys in a block: whole register tiles either way
inline constexpr int64_t kMaxHead = 256;  // largest head dimension
inline constexpr float kLog2E = 1.44269504088896341f, kLn2 = 0.693147180559945309f;

inline int64_t round_up(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

/// A matrix read as a[r * row + k * column].
struct Strided {
    const float* p;
    int64_t row, column;
};

/// What a product begins with: 0, c[r, :], or c[r, :] * factor[r].
enum class Start { overwrite, add, scale };

/// c[r, :] = start + sum over k of a[r, k] b[k, :], for R rows and N vectors of columns.
template <int R, int N, Start start>
WAVLLM_INLINE void register_tile(Strided a, const float* b, int64_t b_row, int64_t count, float* c, int64_t c_row,
                                 const float* factor) {
    vf sum[R][N];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) {
            if constexpr (start == Start::overwrite) sum[r][n] = vf{};
            if constexpr (start == Start::add) sum[r][n] = load(c + r * c_row + n * kLanes);
            if constexpr (start == Start::scale) sum[r][n] = load(c + r * c_row + n * kLanes) * broadcast(factor[r]);
        }
    for (int64_t k = 0; k < count; ++k) {
        vf bk[N];
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) bk[n] = load(b + k * b_row + n * kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const vf ark = broadcast(a.p[r * a.row + k * a.column]);
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n) sum[r][n] = fma(ark, bk[n], sum[r][n]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) store(c + r * c_row + n * kLanes, sum[r][n]);
}

/// The product of kRows rows and any number of vectors of columns.
template <Start start>
inline void row_product(Strided a, const float* b, int64_t b_row, int64_t count, float* c, int64_t c_row,
                        int64_t vectors, const float* factor = nullptr) {
    for (; vectors > 0; vectors -= kMaxVectors, b += kMaxVectors * kLanes, c += kMaxVectors * kLanes) {
        switch (vectors) {
            case 1: register_tile<kRows, 1, start>(a, b, b_row, count, c, c_row, factor); break;
            case 2: register_tile<kRows, 2, start>(a, b, b_row, count, c, c_row, factor); break;
            case 3: register_tile<kRows, 3, start>(a, b, b_row, count, c, c_row, factor); break;
            default: register_tile<kRows, 4, start>(a, b, b_row, count, c, c_row, factor); break;
        }
    }
}

/// The same for any number of rows, rounded up to whole register tiles (c and a must have them).
template <Start start>
inline void product(int64_t rows, Strided a, const float* b, int64_t b_row, int64_t count, float* c, int64_t c_row,
                    int64_t vectors) {
    for (int64_t r = 0; r < rows; r += kRows)
        row_product<start>({a.p + r * a.row, a.row, a.column}, b, b_row, count, c + r * c_row, c_row, vectors);
}

/// 2^x for x <= 127 to about 1 ulp: x = k + r, |r| <= 1/2, polynomial in r (minimax with p(0) = 1, error below 2^-27),
/// times 2^k. Exactly 1 at 0; 0 below -126; NaN stays NaN.
WAVLLM_INLINE vf exp2(vf x) {
    const vf low = broadcast(-126.0f), magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    const vf clamped = x < low ? low : x;
    const vf shifted = clamped + magic;
    const vf r = clamped - (shifted - magic);
    vf p = broadcast(1.535315381e-4f);
    p = fma(p, r, broadcast(1.339913260e-3f));
    p = fma(p, r, broadcast(9.618439848e-3f));
    p = fma(p, r, broadcast(5.550331854e-2f));
    p = fma(p, r, broadcast(2.402264788e-1f));
    p = fma(p, r, broadcast(6.931472031e-1f));
    p = fma(p, r, broadcast(1.0f));
    vi bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + (127 - 0x4B400000)) << 23;
    vf power;
    std::memcpy(&power, &bits, sizeof power);
    return x < low ? vf{} : p * power;
}

/// Largest lane.
WAVLLM_INLINE float max_lane(vf v) {
    v = vmax(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    v = vmax(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    v = vmax(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    v = vmax(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
    return v[0];
}

inline constexpr vi kLaneIndex = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/// v in the first n lanes (n may be negative or above 16), `otherwise` in the rest.
WAVLLM_INLINE vf first_lanes(vf v, int64_t n, vf otherwise) {
    const auto limit = static_cast<int32_t>(n);
    return kLaneIndex < vi{} + limit ? v : otherwise;
}

/// One head of a [rows, heads, Dh] tensor, whose rows and heads may lie apart.
struct HeadRows {
    const float* p;
    int64_t row;  // elements from one row to the next
};

inline HeadRows head_rows(const Tensor& t, int64_t first_row, int64_t head) {
    return {t.data<float>() + first_row * t.stride(0) + head * t.stride(1), t.stride(0)};
}

/// to[i, 0..padded) = factor * rows i of x, zeros behind dh and in rows from `rows` up to `all`.
inline void pack_rows(HeadRows x, int64_t rows, int64_t all, int64_t dh, int64_t padded, float factor, float* to) {
    for (int64_t i = 0; i < all; ++i, to += padded)
        for (int64_t d = 0; d < padded; d += kLanes) {
            const int64_t n = i < rows ? std::min<int64_t>(kLanes, dh - d) : 0;
            store(to + d, n == kLanes ? load(x.p + i * x.row + d) * broadcast(factor)
                          : n > 0     ? load(x.p + i * x.row + d, n) * broadcast(factor)
                                      : vf{});
        }
}

/// to[d, i] = x[i, d] for a block of kBlock rows, zeros from `rows` on.
inline void pack_transposed(HeadRows x, int64_t rows, int64_t dh, float* to) {
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t d = 0; d < dh; ++d) to[d * kBlock + i] = x.p[i * x.row + d];
    if (rows < kBlock)
        for (int64_t d = 0; d < dh; ++d) std::fill(to + d * kBlock + rows, to + (d + 1) * kBlock, 0.0f);
}

}  // namespace wavllm::kernels::attention_tile
