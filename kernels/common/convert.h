#pragma once
// Rows of f32 to and from the 16-bit floats, 16 at a time; the bits of the scalar conversions in tensor/dtype.h.

#include "kernels/common/simd.h"
#include "tensor/dtype.h"

#if defined(__AVX512F__) || defined(__F16C__)
#include <immintrin.h>
#endif

namespace wavllm::kernels {

inline void convert_row(const float* x, bf16* y, int64_t n) {
    using vu [[gnu::vector_size(64)]] = uint32_t;
    using vu16 [[gnu::vector_size(32)]] = uint16_t;
    for_lanes(n, [&](int64_t i, auto lanes) {
        const vu bits = (vu)load(x + i, lanes);
        const vu rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16, nan = (bits >> 16) | 0x40U;
        const vu16 narrow = __builtin_convertvector((bits & 0x7FFFFFFFU) > 0x7F800000U ? nan : rounded, vu16);
        std::memcpy(y + i, &narrow, static_cast<size_t>(lanes) * sizeof(bf16));
    });
}

inline void convert_row(const bf16* x, float* y, int64_t n) {
    using vu [[gnu::vector_size(64)]] = uint32_t;
    using vu16 [[gnu::vector_size(32)]] = uint16_t;
    for_lanes(n, [&](int64_t i, auto lanes) {
        vu16 narrow{};
        std::memcpy(&narrow, x + i, static_cast<size_t>(lanes) * sizeof(bf16));
        store(y + i, (vf)(__builtin_convertvector(narrow, vu) << 16), lanes);
    });
}

inline void convert_row(const float* x, f16* y, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i),
                            _mm512_maskz_cvtps_ph(0xFFFF, (__m512)load(x + i), _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; i < n; ++i) y[i] = to_f16(x[i]);
}

inline void convert_row(const f16* x, float* y, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16) {
        const __m256i narrow = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i));
        store(y + i, (vf)_mm512_maskz_cvtph_ps(0xFFFF, narrow));
    }
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i))));
#endif
    for (; i < n; ++i) y[i] = to_f32(x[i]);
}

}  // namespace wavllm::kernels
