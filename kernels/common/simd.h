#pragma once
// Vectors of 16 floats (GCC vector extension). The width is fixed, and the compiler maps it to one AVX-512 register,
// two AVX2 ones, or four SSE ones: so the order of every reduction, and with it every bit, is the same on all of them.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#endif

namespace wavllm::kernels {

inline constexpr int kLanes = 16;
using vf [[gnu::vector_size(64)]] = float;
using vi [[gnu::vector_size(64)]] = int32_t;

#define WAVLLM_INLINE [[gnu::always_inline]] inline

WAVLLM_INLINE vf broadcast(float x) {
    return x - vf{};  // x - 0 is x for every x, so this becomes a broadcast from memory; 0 + x would turn -0 into 0
}
WAVLLM_INLINE vf load(const float* p) {
    vf v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
WAVLLM_INLINE void store(float* p, vf v) {
    std::memcpy(p, &v, sizeof v);
}
/// The first n lanes of p, zeros after them.
WAVLLM_INLINE vf load(const float* p, int64_t n) {
    vf v{};
    std::memcpy(&v, p, static_cast<size_t>(n) * sizeof(float));
    return v;
}
WAVLLM_INLINE void store(float* p, vf v, int64_t n) {
    std::memcpy(p, &v, static_cast<size_t>(n) * sizeof(float));
}
/// a*b + c with one rounding.
WAVLLM_INLINE vf fma(vf a, vf b, vf c) {
#if defined(__AVX512F__)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    struct Halves {
        __m256 low, high;
    };
    const auto x = __builtin_bit_cast(Halves, a), y = __builtin_bit_cast(Halves, b), z = __builtin_bit_cast(Halves, c);
    return __builtin_bit_cast(vf,
                              Halves{_mm256_fmadd_ps(x.low, y.low, z.low), _mm256_fmadd_ps(x.high, y.high, z.high)});
#else
    vf r;
    for (int i = 0; i < kLanes; ++i) r[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return r;
#endif
}
WAVLLM_INLINE vf vmax(vf a, vf b) {
    return a > b ? a : b;
}
WAVLLM_INLINE vf vmin(vf a, vf b) {
    return a < b ? a : b;
}
/// Sum of the lanes, always as the same tree: 8 apart, then 4, 2, 1.
WAVLLM_INLINE float sum(vf v) {
    for (int step = kLanes / 2; step; step /= 2)
        for (int i = 0; i < step; ++i) v[i] += v[i + step];
    return v[0];
}
WAVLLM_INLINE float max(vf v) {
    for (int step = kLanes / 2; step; step /= 2)
        for (int i = 0; i < step; ++i) v[i] = v[i] > v[i + step] ? v[i] : v[i + step];
    return v[0];
}

/// Calls f(i, lanes) for i = 0, 16, ...; lanes is 16 except in the last call of an n that is no multiple of it.
template <class F>
WAVLLM_INLINE void for_lanes(int64_t n, F&& f) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) f(i, std::integral_constant<int64_t, kLanes>{});
    if (i < n) f(i, n - i);
}

/// e^x to about 1 ulp: x = k ln2 + r, |r| <= ln2/2, polynomial in r (Taylor to degree 7, error below 2^-25), times 2^k.
/// Below -87.3 the result is 0, above 88.7 infinity; NaN stays NaN.
WAVLLM_INLINE vf exp(vf x) {
    const vf clamped = vmin(vmax(x, broadcast(-87.336f)), broadcast(88.72f));
    const vf magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    const vf shifted = fma(clamped, broadcast(1.44269504088896341f), magic);
    const vf k = shifted - magic;
    vf r = fma(k, broadcast(-0.693145751953125f), clamped);  // ln2 in two parts, the first exact times k
    r = fma(k, broadcast(-1.42860682030941723e-6f), r);
    vf p = broadcast(1.0f / 5040);
    p = fma(p, r, broadcast(1.0f / 720));
    p = fma(p, r, broadcast(1.0f / 120));
    p = fma(p, r, broadcast(1.0f / 24));
    p = fma(p, r, broadcast(1.0f / 6));
    p = fma(p, r, broadcast(0.5f));
    p = fma(p, r, broadcast(1.0f));
    p = fma(p, r, broadcast(1.0f));
    vi bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    // 2^k in two factors, so that k = 128 (results just below the largest float) does not overflow on the way
    const vi ki = bits - 0x4B400000;
    const vi half = ki >> 1;
    const vi low_bits = (half + 127) << 23, high_bits = (ki - half + 127) << 23;
    vf low, high;
    std::memcpy(&low, &low_bits, sizeof low);
    std::memcpy(&high, &high_bits, sizeof high);
    vf result = p * low * high;
    result = x < -87.336f ? vf{} : result;
    result = x > 88.72f ? broadcast(__builtin_inff()) : result;
    return x == x ? result : x;
}

/// Logistic function 1 / (1 + e^-x).
WAVLLM_INLINE vf sigmoid(vf x) {
    return 1.0f / (1.0f + exp(-x));
}

}  // namespace wavllm::kernels
