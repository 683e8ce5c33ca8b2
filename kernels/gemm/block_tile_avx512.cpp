// Compiled for AVX-512 BF16 whatever the rest is compiled for; called only where the CPU has it. Nothing here may be an
// inline function of a header: the linker could take this version of it for all.

#include "kernels/gemm/block_tile.h"

#if defined(__x86_64__)

#include <immintrin.h>

// GCC 12 takes the "undefined" operands inside its own intrinsics for a mistake of ours.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,f16c")

namespace wavllm::kernels {

namespace {

#define BLOCK_INLINE [[gnu::always_inline]] static inline

constexpr int64_t bytes_of(int bits) {
    return 32 * (bits == 4 ? 20 : 34);
}

/// weight = scale * f + shift for one vector of lanes, where f = 1 + (q << Place) / 2^23.
struct Line {
    __m512 scale, shift;
};

/// The lines of 16 columns: [vector][place], two lanes a column. Place 0 is that of the top of the mantissa, place 1 (of
/// q4_1) the one 4 bits below.
struct Lines {
    Line at[2][2];
};

BLOCK_INLINE __m512 halves(const char* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

template <int Bits>
BLOCK_INLINE Lines lines_of(const char* block, int half) {
    const __m512i order[2] = {_mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0),
                              _mm512_set_epi32(15, 15, 14, 14, 13, 13, 12, 12, 11, 11, 10, 10, 9, 9, 8, 8)};
    const __m512 d = halves(block + 32 * half), scale = d * _mm512_set1_ps(1 << Bits);
    const __m512 m = Bits == 4 ? halves(block + 64 + 32 * half) : d * _mm512_set1_ps(-128);
    Lines lines;
    for (int v = 0; v < 2; ++v) {
        const __m512 s = _mm512_permutexvar_ps(order[v], scale), minimum = _mm512_permutexvar_ps(order[v], m);
        lines.at[v][0] = {s, minimum - s};
        const __m512 s16 = s * _mm512_set1_ps(16);
        lines.at[v][1] = {s16, minimum - s16};
    }
    return lines;
}

/// Each word rotated down by so many bytes. A shuffle, since rotations compete with the multipliers for their ports.
BLOCK_INLINE __m512i rotated(__m512i words, int bytes) {
    const __m128i lane = bytes == 1   ? _mm_set_epi32(0x0C0F0E0D, 0x080B0A09, 0x04070605, 0x00030201)
                         : bytes == 2 ? _mm_set_epi32(0x0D0C0F0E, 0x09080B0A, 0x05040706, 0x01000302)
                                      : _mm_set_epi32(0x0E0D0C0F, 0x0A09080B, 0x06050407, 0x02010003);
    return bytes == 0 ? words : _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(lane));
}

template <int Bits, int Place>
BLOCK_INLINE __m512 weight(__m512i words, const Line (&line)[2]) {
    const __m512i mask = _mm512_set1_epi32(((1 << Bits) - 1) << (23 - Bits - 4 * Place));
    const __m512i one = _mm512_set1_epi32(0x3F800000);
    constexpr int kAndOr = 0xEA;  // (a & b) | c
    return _mm512_fmadd_ps((__m512)_mm512_ternarylogic_epi32(words, mask, one, kAndOr), line[Place].scale,
                           line[Place].shift);
}

template <int Bits, int Place>
BLOCK_INLINE __m512bh pairs_of(const __m512i (&words)[2], const Lines& lines) {
    return _mm512_cvtne2ps_pbh(weight<Bits, Place>(words[1], lines.at[1]), weight<Bits, Place>(words[0], lines.at[0]));
}

/// Calls f(half, pair, 16 columns of the pair) for both halves of the columns and all pairs of a block, in order.
template <int Bits, class F>
BLOCK_INLINE void for_pairs(const char* block, F&& f) {
    constexpr int kGroup = 32 / Bits;  // pairs in a word
    const char* words_at = block + (Bits == 4 ? 128 : 64);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
        const Lines lines = lines_of<Bits>(block, h);
#pragma GCC unroll 4
        for (int pair = 0; pair < 16; pair += kGroup, words_at += 128) {
            const __m512i words[2] = {_mm512_loadu_si512(words_at), _mm512_loadu_si512(words_at + 64)};
            __m512i turned[4][2];
#pragma GCC unroll 4
            for (int r = 0; r < 4; ++r) turned[r][0] = rotated(words[0], r), turned[r][1] = rotated(words[1], r);
            if constexpr (Bits == 4) {
                f(h, pair + 0, pairs_of<4, 0>(turned[0], lines));
                f(h, pair + 1, pairs_of<4, 1>(turned[1], lines));
                f(h, pair + 2, pairs_of<4, 0>(turned[1], lines));
                f(h, pair + 3, pairs_of<4, 1>(turned[2], lines));
                f(h, pair + 4, pairs_of<4, 0>(turned[2], lines));
                f(h, pair + 5, pairs_of<4, 1>(turned[3], lines));
                f(h, pair + 6, pairs_of<4, 0>(turned[3], lines));
                f(h, pair + 7, pairs_of<4, 1>(turned[0], lines));
            } else {
                f(h, pair + 0, pairs_of<8, 0>(turned[0], lines));
                f(h, pair + 1, pairs_of<8, 0>(turned[1], lines));
                f(h, pair + 2, pairs_of<8, 0>(turned[2], lines));
                f(h, pair + 3, pairs_of<8, 0>(turned[3], lines));
            }
        }
    }
}

BLOCK_INLINE __mmask16 mask_of(int64_t n) {
    return n >= 16 ? __mmask16(0xFFFF) : n <= 0 ? __mmask16(0) : __mmask16((1U << n) - 1U);
}

/// acc += weights * the pair at `left`. In assembler, since the compiler would load the pair once for both halves of the
/// columns, far ahead, and put other things on the stack for it; as an operand it costs nothing.
BLOCK_INLINE void multiply_pair(__m512& acc, __m512bh weights, const bf16* left) {
    asm("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(weights), "m"(*reinterpret_cast<const int32_t*>(left)));
}

template <int Bits, int Rows>
void tile_of(const BlockTile& t) {
    const __mmask16 low = mask_of(t.columns), high = mask_of(t.columns - 16);
    __m512 acc[Rows][2];
    for (int i = 0; i < Rows; ++i) {
        const float* c = t.c + i * t.c_stride;
        acc[i][0] = t.from_c ? _mm512_maskz_loadu_ps(low, c) : _mm512_setzero_ps();
        acc[i][1] = t.from_c ? _mm512_maskz_loadu_ps(high, c + 16) : _mm512_setzero_ps();
    }
    const auto* block = static_cast<const char*>(t.panel);
    const bf16* left = t.left.data;
    const int64_t stride = t.left.stride;
    for (int64_t b = 0; b < t.blocks; ++b, block += bytes_of(Bits), left += 32)
        for_pairs<Bits>(
            block, [&](int h, int pair, __m512bh weights) __attribute__((always_inline)) {
#pragma GCC unroll 4
                for (int i = 0; i < Rows; ++i) multiply_pair(acc[i][h], weights, left + i * stride + 2 * pair);
            });
    for (int i = 0; i < Rows; ++i) {
        float* c = t.c + i * t.c_stride;
        if (t.bias) {
            acc[i][0] = acc[i][0] + _mm512_maskz_loadu_ps(low, t.bias);
            acc[i][1] = acc[i][1] + _mm512_maskz_loadu_ps(high, t.bias + 16);
        }
        _mm512_mask_storeu_ps(c, low, acc[i][0]);
        _mm512_mask_storeu_ps(c + 16, high, acc[i][1]);
    }
}

template <int Bits>
void tile(int64_t rows, const BlockTile& t) {
    static constexpr void (*kTiles[kBlockTileRows])(const BlockTile&) = {tile_of<Bits, 1>, tile_of<Bits, 2>,
                                                                         tile_of<Bits, 3>, tile_of<Bits, 4>};
    kTiles[rows - 1](t);
}

template <int Bits>
void expand(const void* panel, int64_t blocks, bf16* out) {
    const auto* block = static_cast<const char*>(panel);
    for (int64_t b = 0; b < blocks; ++b, block += bytes_of(Bits), out += 1024)
        for_pairs<Bits>(
            block, [&](int h, int pair, __m512bh weights) __attribute__((always_inline)) {
                _mm512_storeu_si512(out + pair * 64 + h * 32, (__m512i)weights);
            });
}

}  // namespace

const BlockKernels* avx512_block_kernels(DType dtype) {
    static constexpr BlockKernels q4{tile<4>, expand<4>}, q8{tile<8>, expand<8>};
    return dtype == DType::q4_1 ? &q4 : &q8;
}

}  // namespace wavllm::kernels

#else

namespace wavllm::kernels {

const BlockKernels* avx512_block_kernels(DType) {
    return nullptr;
}

}  // namespace wavllm::kernels

#endif
