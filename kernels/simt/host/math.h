#pragma once
// CUDA's device functions for numbers and bits on the host. Fast-math intrinsics (__expf ...) are computed to full float
// precision here: a GPU's are off by a few units in the last place, so a test's tolerance must allow for that.

#include <math.h>

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels/simt/host/types.h"

// glibc has functions of these names for itself.
#define __expf simt_expf
#define __exp10f simt_exp10f
#define __logf simt_logf
#define __log2f simt_log2f
#define __log10f simt_log10f
#define __powf simt_powf
#define __sinf simt_sinf
#define __cosf simt_cosf
#define __sincosf simt_sincosf

SIMT_INLINE float rsqrtf(float x) {
    return 1.0f / sqrtf(x);
}
SIMT_INLINE float __frsqrt_rn(float x) {
    return 1.0f / sqrtf(x);
}
SIMT_INLINE float simt_expf(float x) {
    return expf(x);
}
SIMT_INLINE float simt_exp10f(float x) {
    return powf(10.0f, x);
}
SIMT_INLINE float simt_logf(float x) {
    return logf(x);
}
SIMT_INLINE float simt_log2f(float x) {
    return log2f(x);
}
SIMT_INLINE float simt_log10f(float x) {
    return log10f(x);
}
SIMT_INLINE float simt_powf(float x, float y) {
    return powf(x, y);
}
SIMT_INLINE float simt_sinf(float x) {
    return sinf(x);
}
SIMT_INLINE float simt_cosf(float x) {
    return cosf(x);
}
SIMT_INLINE void simt_sincosf(float x, float* s, float* c) {
    *s = sinf(x);
    *c = cosf(x);
}
SIMT_INLINE float __fdividef(float x, float y) {
    return x / y;
}
SIMT_INLINE float __fdiv_rn(float x, float y) {
    return x / y;
}
SIMT_INLINE float __frcp_rn(float x) {
    return 1.0f / x;
}
SIMT_INLINE float __fsqrt_rn(float x) {
    return sqrtf(x);
}
SIMT_INLINE float __fadd_rn(float x, float y) {
    return x + y;
}
SIMT_INLINE float __fsub_rn(float x, float y) {
    return x - y;
}
SIMT_INLINE float __fmul_rn(float x, float y) {
    return x * y;
}
SIMT_INLINE float __fmaf_rn(float x, float y, float z) {
    return fmaf(x, y, z);
}
SIMT_INLINE double __fma_rn(double x, double y, double z) {
    return fma(x, y, z);
}
SIMT_INLINE float __saturatef(float x) {
    return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f;
}
SIMT_INLINE int __float2int_rn(float x) {
    return static_cast<int>(rintf(x));
}
SIMT_INLINE int __float2int_rz(float x) {
    return static_cast<int>(x);
}
SIMT_INLINE int __float2int_rd(float x) {
    return static_cast<int>(floorf(x));
}
SIMT_INLINE float __int2float_rn(int x) {
    return static_cast<float>(x);
}
SIMT_INLINE float __uint2float_rn(unsigned x) {
    return static_cast<float>(x);
}

SIMT_INLINE int __float_as_int(float x) {
    return std::bit_cast<int>(x);
}
SIMT_INLINE unsigned __float_as_uint(float x) {
    return std::bit_cast<unsigned>(x);
}
SIMT_INLINE float __int_as_float(int x) {
    return std::bit_cast<float>(x);
}
SIMT_INLINE float __uint_as_float(unsigned x) {
    return std::bit_cast<float>(x);
}
SIMT_INLINE int __popc(unsigned x) {
    return std::popcount(x);
}
SIMT_INLINE int __popcll(unsigned long long x) {
    return std::popcount(x);
}
SIMT_INLINE int __clz(int x) {
    return std::countl_zero(static_cast<unsigned>(x));
}
SIMT_INLINE int __ffs(int x) {
    return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1;
}
SIMT_INLINE unsigned __brev(unsigned x) {
    unsigned y = 0;
    for (int i = 0; i < 32; ++i) y |= ((x >> i) & 1u) << (31 - i);
    return y;
}
SIMT_INLINE unsigned __umulhi(unsigned x, unsigned y) {
    return static_cast<unsigned>((static_cast<uint64_t>(x) * y) >> 32);
}
SIMT_INLINE unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
    return static_cast<unsigned long long>((static_cast<unsigned __int128>(x) * y) >> 64);
}
SIMT_INLINE unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>(((static_cast<uint64_t>(high) << 32 | low) << (shift & 31u)) >> 32);
}
SIMT_INLINE unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31u));
}
SIMT_INLINE int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; ++i)
        c += static_cast<int>(static_cast<int8_t>(a >> (8 * i))) * static_cast<int>(static_cast<int8_t>(b >> (8 * i)));
    return c;
}

// CUDA has min and max for every arithmetic type in the global namespace.
#define SIMT_MIN_MAX(type)                 \
    SIMT_INLINE type min(type a, type b) { \
        return b < a ? b : a;              \
    }                                      \
    SIMT_INLINE type max(type a, type b) { \
        return a < b ? b : a;              \
    }
SIMT_MIN_MAX(int)
SIMT_MIN_MAX(unsigned)
SIMT_MIN_MAX(long)
SIMT_MIN_MAX(unsigned long)
SIMT_MIN_MAX(long long)
SIMT_MIN_MAX(unsigned long long)
#undef SIMT_MIN_MAX
SIMT_INLINE float min(float a, float b) {
    return fminf(a, b);
}
SIMT_INLINE float max(float a, float b) {
    return fmaxf(a, b);
}
SIMT_INLINE double min(double a, double b) {
    return fmin(a, b);
}
SIMT_INLINE double max(double a, double b) {
    return fmax(a, b);
}

// Loads and stores with a cache hint: the hint means nothing here.
template <class T>
SIMT_MEMBER T __ldg(const T* p) {
    return *p;
}
template <class T>
SIMT_MEMBER T __ldcg(const T* p) {
    return *p;
}
template <class T>
SIMT_MEMBER T __ldcs(const T* p) {
    return *p;
}
template <class T>
SIMT_MEMBER void __stcs(T* p, T v) {
    *p = v;
}
template <class T>
SIMT_MEMBER void __stcg(T* p, T v) {
    *p = v;
}
