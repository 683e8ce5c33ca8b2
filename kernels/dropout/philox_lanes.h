#pragma once
// Philox 4x32-10 (tensor/philox.h) on eight counters at once: eight blocks of four numbers, 32 columns of a mask.

#include <cstdint>

#include "kernels/common/simd.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace wavllm::kernels {

using vu32 [[gnu::vector_size(64)]] = uint32_t;
using vu64 [[gnu::vector_size(64)]] = uint64_t;  ///< each lane holds a 32-bit word in its lower half

/// The 64-bit products of the lower halves: the upper halves of a are ignored.
WAVLLM_INLINE vu64 multiply_low(vu64 a, uint32_t b) {
#if defined(__AVX512F__)
    return (vu64)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, _mm512_set1_epi64(b));  // unmasked: GCC 12 warns in vain
#elif defined(__AVX2__)
    __m256i half[2];
    std::memcpy(half, &a, sizeof half);
    for (__m256i& h : half) h = _mm256_mul_epu32(h, _mm256_set1_epi64x(b));
    std::memcpy(&a, half, sizeof a);
    return a;
#else
    return (a & 0xFFFFFFFFU) * b;
#endif
}

struct Bits32 {
    vu32 first, second;  ///< columns 0..15 and 16..31
};

/// The words of blocks block .. block+7, whose counters differ in their low word only: its low word is `low` + lane and
/// must not wrap. The upper halves of the lanes collect rubbish on the way, which no step reads.
WAVLLM_INLINE Bits32 philox_32_columns(uint32_t low, uint32_t high, uint32_t step, uint32_t purpose, uint64_t seed) {
    vu64 c0 = vu64{0, 1, 2, 3, 4, 5, 6, 7} + low, c1 = vu64{} + high, c2 = vu64{} + step, c3 = vu64{} + purpose;
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
        const vu64 a = multiply_low(c0, 0xD2511F53U), b = multiply_low(c2, 0xCD9E8D57U);
        c0 = (b >> 32) ^ c1 ^ (vu64{} + k0);
        c1 = b;
        c2 = (a >> 32) ^ c3 ^ (vu64{} + k1);
        c3 = a;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    // words 0 and 1 of a block into one lane, 2 and 3 into another, then the lanes in the order of the blocks
    const vu64 w01 = (c0 & 0xFFFFFFFFU) | (c1 << 32), w23 = (c2 & 0xFFFFFFFFU) | (c3 << 32);
    const vu64 first = __builtin_shuffle(w01, w23, vu64{0, 8, 1, 9, 2, 10, 3, 11});
    const vu64 second = __builtin_shuffle(w01, w23, vu64{4, 12, 5, 13, 6, 14, 7, 15});
    return {(vu32)first, (vu32)second};
}

}  // namespace wavllm::kernels
