// Compiled for AVX-512 BF16 whatever the rest is compiled for; called only where the CPU has it. Nothing here may be an
// inline function of a header: the linker could take this version of it for all.

#include "kernels/gemm/bf16_tile.h"

#if defined(__x86_64__)

#include <immintrin.h>

// GCC 12 takes the "undefined" operands inside its own intrinsics for a mistake of ours.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")

namespace wavllm::kernels {

namespace {

#define BF16_INLINE [[gnu::always_inline]] static inline

BF16_INLINE __m512i pair_of(const bf16* p) {
    int32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
}

BF16_INLINE __mmask16 mask_of(int64_t n) {
    return n >= 16 ? __mmask16(0xFFFF) : n <= 0 ? __mmask16(0) : __mmask16((1U << n) - 1U);
}

template <int Rows>
void tile_of(const Bf16Tile& t) {
    const __mmask16 low = mask_of(t.columns), high = mask_of(t.columns - 16);
    __m512 acc[Rows][2];
    for (int i = 0; i < Rows; ++i) {
        const float* c = t.c + i * t.c_stride;
        acc[i][0] = t.from_c ? _mm512_maskz_loadu_ps(low, c) : _mm512_setzero_ps();
        acc[i][1] = t.from_c ? _mm512_maskz_loadu_ps(high, c + 16) : _mm512_setzero_ps();
    }
    constexpr int kUpper = (Rows + 1) / 2;  // two bases: fewer registers for the rows' addresses
    const int64_t stride = t.left.stride;
    const bf16 *upper = t.left.data, *lower = t.left.data + kUpper * stride, *panel = t.panel;
    for (int64_t k = 0; k < t.pairs; ++k, upper += 2, lower += 2, panel += 64) {
        const auto b0 = (__m512bh)_mm512_loadu_si512(panel), b1 = (__m512bh)_mm512_loadu_si512(panel + 32);
#pragma GCC unroll 14
        for (int i = 0; i < Rows; ++i) {
            const auto a = (__m512bh)pair_of(i < kUpper ? upper + i * stride : lower + (i - kUpper) * stride);
            acc[i][0] = _mm512_dpbf16_ps(acc[i][0], a, b0);
            acc[i][1] = _mm512_dpbf16_ps(acc[i][1], a, b1);
        }
    }
    const Epilogue* e = t.last;
    for (int i = 0; i < Rows; ++i) {
        float* c = t.c + i * t.c_stride;
        if (e && e->add_scaled) {
            const __m512 s0 = e->column_scale ? _mm512_maskz_loadu_ps(low, e->column_scale) : _mm512_set1_ps(e->scale);
            const __m512 s1 =
                e->column_scale ? _mm512_maskz_loadu_ps(high, e->column_scale + 16) : _mm512_set1_ps(e->scale);
            acc[i][0] = _mm512_fmadd_ps(acc[i][0], s0, _mm512_maskz_loadu_ps(low, c));
            acc[i][1] = _mm512_fmadd_ps(acc[i][1], s1, _mm512_maskz_loadu_ps(high, c + 16));
        } else if (e && e->bias) {
            acc[i][0] = acc[i][0] + _mm512_maskz_loadu_ps(low, e->bias);
            acc[i][1] = acc[i][1] + _mm512_maskz_loadu_ps(high, e->bias + 16);
        }
        _mm512_mask_storeu_ps(c, low, acc[i][0]);
        _mm512_mask_storeu_ps(c + 16, high, acc[i][1]);
    }
}

void tile(int64_t rows, const Bf16Tile& t) {
    static constexpr void (*kTiles[kBf16TileRows])(const Bf16Tile&) = {
        tile_of<1>, tile_of<2>, tile_of<3>,  tile_of<4>,  tile_of<5>,  tile_of<6>,  tile_of<7>,
        tile_of<8>, tile_of<9>, tile_of<10>, tile_of<11>, tile_of<12>, tile_of<13>, tile_of<14>};
    kTiles[rows - 1](t);
}

void row(const float* a, int64_t k, bf16* out) {
    int64_t i = 0;
    for (; i + 32 <= k; i += 32) {
        const auto v = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(a + i));
        _mm512_storeu_si512(out + i, _mm512_rol_epi32(v, 16));
    }
    if (i < k) {
        const __m512 low = _mm512_maskz_loadu_ps(mask_of(k - i), a + i),
                     high = _mm512_maskz_loadu_ps(mask_of(k - i - 16), a + i + 16);
        _mm512_storeu_si512(out + i, _mm512_rol_epi32((__m512i)_mm512_cvtne2ps_pbh(high, low), 16));
    }
}

void row_pair(const float* even, const float* odd, int64_t columns, bf16* out) {
    // words 0..15 are the odd row's, 16..31 the even one's; a pair takes its lower half from the first
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (int half = 0; half < 2; ++half) {
        const __mmask16 mask = mask_of(columns - 16 * half);
        const __m512 x = _mm512_maskz_loadu_ps(mask, even + 16 * half);
        const __m512 y = odd ? _mm512_maskz_loadu_ps(mask, odd + 16 * half) : _mm512_setzero_ps();
        _mm512_storeu_si512(out + 32 * half, _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(x, y)));
    }
}

/// An 8 x 8 block of 64-bit words, transposed.
BF16_INLINE void transpose_8x8(const __m512i (&r)[8], char* out, int64_t out_stride) {
    __m512i pairs[8], quads[8];
    for (int i = 0; i < 4; ++i) {
        pairs[2 * i] = _mm512_unpacklo_epi64(r[2 * i], r[2 * i + 1]);      // columns 0 2 4 6 of two rows
        pairs[2 * i + 1] = _mm512_unpackhi_epi64(r[2 * i], r[2 * i + 1]);  // columns 1 3 5 7
    }
    for (int h = 0; h < 2; ++h)  // rows 0..3 and 4..7
        for (int odd = 0; odd < 2; ++odd) {
            const __m512i a = pairs[4 * h + odd], b = pairs[4 * h + 2 + odd];
            quads[4 * h + odd] = _mm512_shuffle_i64x2(a, b, 0x88);      // columns odd, odd + 4
            quads[4 * h + 2 + odd] = _mm512_shuffle_i64x2(a, b, 0xDD);  // columns odd + 2, odd + 6
        }
    for (int part = 0; part < 4; ++part) {  // columns odd (+ 4) and odd + 2 (+ 6)
        const __m512i a = quads[part], b = quads[4 + part];
        const int column = part % 2 + 2 * (part / 2);
        _mm512_storeu_si512(out + column * out_stride, _mm512_shuffle_i64x2(a, b, 0x88));
        _mm512_storeu_si512(out + (column + 4) * out_stride, _mm512_shuffle_i64x2(a, b, 0xDD));
    }
}

void turn(const bf16* in, int64_t k_pairs, bf16* out) {
    const __m512i swap = _mm512_set_epi8(9, 8, 13, 12, 11, 10, 15, 14, 1, 0, 5, 4, 3, 2, 7, 6, 9, 8, 13, 12, 11, 10, 15,
                                         14, 1, 0, 5, 4, 3, 2, 7, 6, 9, 8, 13, 12, 11, 10, 15, 14, 1, 0, 5, 4, 3, 2, 7,
                                         6, 9, 8, 13, 12, 11, 10, 15, 14, 1, 0, 5, 4, 3, 2, 7, 6);
    for (int j0 = 0; j0 < 16; j0 += 8)        // pairs along k
        for (int i0 = 0; i0 < 16; i0 += 8) {  // pairs along n
            __m512i r[8];
            for (int j = 0; j < 8; ++j)
                r[j] = j0 + j < k_pairs ? _mm512_shuffle_epi8(_mm512_loadu_si512(in + (j0 + j) * 64 + i0 * 4), swap)
                                        : _mm512_setzero_si512();
            transpose_8x8(r, reinterpret_cast<char*>(out + i0 * 64 + j0 * 4), 128);
        }
}

}  // namespace

const Bf16Kernels* avx512_bf16_kernels() {
    static constexpr Bf16Kernels kernels{tile, row, row_pair, turn};
    return &kernels;
}

}  // namespace wavllm::kernels

#else

namespace wavllm::kernels {

const Bf16Kernels* avx512_bf16_kernels() {
    return nullptr;
}

}  // namespace wavllm::kernels

#endif
