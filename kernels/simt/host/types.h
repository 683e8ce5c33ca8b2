#pragma once
// CUDA's built-in vector types on the host. Copies go through one machine word or vector register, so that the load of
// a float4 is one 16-byte access, as on a GPU, and not four of 4 bytes (the counters and the alignment check see it).

#include <cstddef>
#include <cstdint>

#define SIMT_INLINE static inline __attribute__((always_inline))
#define SIMT_MEMBER inline __attribute__((always_inline))

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace wavllm::simt {
using Word2 __attribute__((may_alias)) = uint16_t;
using Word4 __attribute__((may_alias)) = uint32_t;
using Word8 __attribute__((may_alias)) = uint64_t;
typedef float Word16 __attribute__((vector_size(16), may_alias));
}  // namespace wavllm::simt

// Two or four members of `type`, aligned to their size and copied as one `word`.
#define SIMT_VECTOR2(name, type, word)                                           \
    struct alignas(2 * sizeof(type)) name {                                      \
        type x, y;                                                               \
        name() = default;                                                        \
        SIMT_MEMBER constexpr name(type x_, type y_) : x(x_), y(y_) {}           \
        SIMT_MEMBER name(const name& o) {                                        \
            *reinterpret_cast<word*>(this) = *reinterpret_cast<const word*>(&o); \
        }                                                                        \
        SIMT_MEMBER name& operator=(const name& o) {                             \
            *reinterpret_cast<word*>(this) = *reinterpret_cast<const word*>(&o); \
            return *this;                                                        \
        }                                                                        \
    };                                                                           \
    SIMT_INLINE name make_##name(type x, type y) {                               \
        return name(x, y);                                                       \
    }
#define SIMT_VECTOR4(name, type, word)                                                                 \
    struct alignas(4 * sizeof(type)) name {                                                            \
        type x, y, z, w;                                                                               \
        name() = default;                                                                              \
        SIMT_MEMBER constexpr name(type x_, type y_, type z_, type w_) : x(x_), y(y_), z(z_), w(w_) {} \
        SIMT_MEMBER name(const name& o) {                                                              \
            *reinterpret_cast<word*>(this) = *reinterpret_cast<const word*>(&o);                       \
        }                                                                                              \
        SIMT_MEMBER name& operator=(const name& o) {                                                   \
            *reinterpret_cast<word*>(this) = *reinterpret_cast<const word*>(&o);                       \
            return *this;                                                                              \
        }                                                                                              \
    };                                                                                                 \
    SIMT_INLINE name make_##name(type x, type y, type z, type w) {                                     \
        return name(x, y, z, w);                                                                       \
    }

SIMT_VECTOR2(char2, signed char, ::wavllm::simt::Word2)
SIMT_VECTOR2(uchar2, unsigned char, ::wavllm::simt::Word2)
SIMT_VECTOR2(short2, short, ::wavllm::simt::Word4)
SIMT_VECTOR2(ushort2, unsigned short, ::wavllm::simt::Word4)
SIMT_VECTOR2(int2, int, ::wavllm::simt::Word8)
SIMT_VECTOR2(uint2, unsigned, ::wavllm::simt::Word8)
SIMT_VECTOR2(float2, float, ::wavllm::simt::Word8)
SIMT_VECTOR2(double2, double, ::wavllm::simt::Word16)
SIMT_VECTOR4(char4, signed char, ::wavllm::simt::Word4)
SIMT_VECTOR4(uchar4, unsigned char, ::wavllm::simt::Word4)
SIMT_VECTOR4(short4, short, ::wavllm::simt::Word8)
SIMT_VECTOR4(ushort4, unsigned short, ::wavllm::simt::Word8)
SIMT_VECTOR4(int4, int, ::wavllm::simt::Word16)
SIMT_VECTOR4(uint4, unsigned, ::wavllm::simt::Word16)
SIMT_VECTOR4(float4, float, ::wavllm::simt::Word16)

/// Three floats are no vector on a GPU either: three loads of 4 bytes.
struct float3 {
    float x, y, z;
};
SIMT_INLINE float3 make_float3(float x, float y, float z) {
    return {x, y, z};
}

using cudaStream_t = void*;  ///< launches on the emulator are done when they return
