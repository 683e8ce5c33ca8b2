#pragma once
// __nv_bfloat16 and __half on the host: the part of CUDA's types that kernels here use. Arithmetic rounds after every
// operation, as on a GPU.

#include <bit>
#include <cstdint>

#include "kernels/simt/host/types.h"

struct __nv_bfloat16 {
    uint16_t bits;
    __nv_bfloat16() = default;
    SIMT_MEMBER __nv_bfloat16(float f) : bits(round(f)) {}
    SIMT_MEMBER operator float() const {
        return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
    }
    /// To nearest, ties to even; a NaN stays one.
    static SIMT_MEMBER uint16_t round(float f) {
        const uint32_t u = std::bit_cast<uint32_t>(f);
        if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((u >> 16) | 0x40u);
        return static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
};

struct __half {
    uint16_t bits;
    __half() = default;
    SIMT_MEMBER __half(float f) : bits(std::bit_cast<uint16_t>(static_cast<_Float16>(f))) {}
    SIMT_MEMBER operator float() const {
        return static_cast<float>(std::bit_cast<_Float16>(bits));
    }
};
using half = __half;

SIMT_VECTOR2(__nv_bfloat162, __nv_bfloat16, ::wavllm::simt::Word4)
SIMT_VECTOR2(__half2, __half, ::wavllm::simt::Word4)
using half2 = __half2;

#define SIMT_ARITHMETIC(type)                                       \
    SIMT_INLINE type operator+(type a, type b) {                    \
        return type(static_cast<float>(a) + static_cast<float>(b)); \
    }                                                               \
    SIMT_INLINE type operator-(type a, type b) {                    \
        return type(static_cast<float>(a) - static_cast<float>(b)); \
    }                                                               \
    SIMT_INLINE type operator*(type a, type b) {                    \
        return type(static_cast<float>(a) * static_cast<float>(b)); \
    }                                                               \
    SIMT_INLINE type operator/(type a, type b) {                    \
        return type(static_cast<float>(a) / static_cast<float>(b)); \
    }
SIMT_ARITHMETIC(__nv_bfloat16)
SIMT_ARITHMETIC(__half)
#undef SIMT_ARITHMETIC

SIMT_INLINE float __bfloat162float(__nv_bfloat16 v) {
    return static_cast<float>(v);
}
SIMT_INLINE __nv_bfloat16 __float2bfloat16(float v) {
    return __nv_bfloat16(v);
}
SIMT_INLINE __nv_bfloat16 __float2bfloat16_rn(float v) {
    return __nv_bfloat16(v);
}
SIMT_INLINE __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
    return __nv_bfloat162(__nv_bfloat16(x), __nv_bfloat16(y));
}
SIMT_INLINE __nv_bfloat162 __float22bfloat162_rn(float2 v) {
    return __floats2bfloat162_rn(v.x, v.y);
}
SIMT_INLINE __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) {
    return __nv_bfloat162(x, y);
}
SIMT_INLINE float2 __bfloat1622float2(__nv_bfloat162 v) {
    return float2(static_cast<float>(v.x), static_cast<float>(v.y));
}
SIMT_INLINE float __low2float(__nv_bfloat162 v) {
    return static_cast<float>(v.x);
}
SIMT_INLINE float __high2float(__nv_bfloat162 v) {
    return static_cast<float>(v.y);
}
SIMT_INLINE unsigned short __bfloat16_as_ushort(__nv_bfloat16 v) {
    return v.bits;
}
SIMT_INLINE __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) {
    __nv_bfloat16 v;
    v.bits = bits;
    return v;
}

SIMT_INLINE float __half2float(__half v) {
    return static_cast<float>(v);
}
SIMT_INLINE __half __float2half(float v) {
    return __half(v);
}
SIMT_INLINE __half __float2half_rn(float v) {
    return __half(v);
}
SIMT_INLINE __half2 __floats2half2_rn(float x, float y) {
    return __half2(__half(x), __half(y));
}
SIMT_INLINE __half2 __float22half2_rn(float2 v) {
    return __floats2half2_rn(v.x, v.y);
}
SIMT_INLINE float2 __half22float2(__half2 v) {
    return float2(static_cast<float>(v.x), static_cast<float>(v.y));
}
SIMT_INLINE float __low2float(__half2 v) {
    return static_cast<float>(v.x);
}
SIMT_INLINE float __high2float(__half2 v) {
    return static_cast<float>(v.y);
}
SIMT_INLINE unsigned short __half_as_ushort(__half v) {
    return v.bits;
}
SIMT_INLINE __half __ushort_as_half(unsigned short bits) {
    __half v;
    v.bits = bits;
    return v;
}
