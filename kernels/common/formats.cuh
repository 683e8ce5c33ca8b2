#pragma once
// V neighbouring elements of a row of any floating dtype as f32: the bits of tensor/dtype.h. A row of blocks is read at
// columns that are multiples of 4, so V neighbours lie in one block; eight threads side by side share one. No block format
// lies on more than 4 bytes (q8_0: 2), hence the small loads; q4_1's 20 bytes and q8_0's 34 give 32 floats.

#include <cstdint>

#include "kernels/common/floats.cuh"

namespace wavllm::kernels {

static __device__ __forceinline__ float from_bf16(unsigned bits) {
    return __uint_as_float(bits << 16);
}
/// To nearest, ties to even; a NaN keeps its upper bits (the instruction of sm_80 would not).
static __device__ __forceinline__ unsigned to_bf16(float x) {
    const unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (bits >> 16) | 0x40u;
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}
static __device__ __forceinline__ float from_f16(unsigned bits) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
}
static __device__ __forceinline__ unsigned to_f16(float x) {
    return __half_as_ushort(__float2half_rn(x));
}
/// Two bf16 in one register, the first in the lower half, as the tensor cores' instructions round and take them.
static __device__ __forceinline__ uint32_t bf16_pair(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
}

/// Four 16-bit numbers or one.
template <int V>
struct Shorts;
template <>
struct Shorts<1> {
    unsigned v[1];
    static __device__ __forceinline__ Shorts load(const uint16_t* p) {
        return {{*p}};
    }
    __device__ __forceinline__ void store(uint16_t* p) const {
        *p = static_cast<uint16_t>(v[0]);
    }
};
template <>
struct Shorts<4> {
    unsigned v[4];
    static __device__ __forceinline__ Shorts load(const uint16_t* p) {
        const ushort4 a = *reinterpret_cast<const ushort4*>(p);
        return {{a.x, a.y, a.z, a.w}};
    }
    __device__ __forceinline__ void store(uint16_t* p) const {
        *reinterpret_cast<ushort4*>(p) =
            make_ushort4(static_cast<unsigned short>(v[0]), static_cast<unsigned short>(v[1]),
                         static_cast<unsigned short>(v[2]), static_cast<unsigned short>(v[3]));
    }
};

// A format: row_bytes(d), and load<V>(row, column) of a row that begins at `row`.

struct F32Rows {
    static __host__ __device__ int64_t row_bytes(int64_t d) {
        return 4 * d;
    }
    template <int V>
    static __device__ __forceinline__ Floats<V> load(const char* row, int64_t column) {
        return Floats<V>::load(reinterpret_cast<const float*>(row) + column);
    }
};

template <bool F16>
struct HalfRows {
    static __host__ __device__ int64_t row_bytes(int64_t d) {
        return 2 * d;
    }
    template <int V>
    static __device__ __forceinline__ Floats<V> load(const char* row, int64_t column) {
        const auto bits = Shorts<V>::load(reinterpret_cast<const uint16_t*>(row) + column);
        Floats<V> x;
        for (int k = 0; k < V; ++k) x.v[k] = F16 ? from_f16(bits.v[k]) : from_bf16(bits.v[k]);
        return x;
    }
};

/// 32 elements: f16 scale, 32 int8.
struct Q8Rows {
    static __host__ __device__ int64_t row_bytes(int64_t d) {
        return d / 32 * 34;
    }
    template <int V>
    static __device__ __forceinline__ Floats<V> load(const char* row, int64_t column) {
        static_assert(V == 4, "block formats are read in fours");
        const auto* block = reinterpret_cast<const uint16_t*>(row + column / 32 * 34);
        const float scale = from_f16(block[0]);
        const int pair = 1 + static_cast<int>(column % 32) / 2;
        const unsigned q = block[pair] | static_cast<unsigned>(block[pair + 1]) << 16;
        Floats<V> x;
        for (int k = 0; k < V; ++k) x.v[k] = static_cast<float>(static_cast<int8_t>(q >> (8 * k))) * scale;
        return x;
    }
};

/// 32 elements: f16 scale and minimum, 16 bytes whose low halves are elements 0 to 15 and whose high halves the others.
struct Q4Rows {
    static __host__ __device__ int64_t row_bytes(int64_t d) {
        return d / 32 * 20;
    }
    template <int V>
    static __device__ __forceinline__ Floats<V> load(const char* row, int64_t column) {
        static_assert(V == 4, "block formats are read in fours");
        const auto* block = reinterpret_cast<const unsigned*>(row + column / 32 * 20);
        const unsigned header = block[0];
        const float scale = from_f16(header & 0xffffu), minimum = from_f16(header >> 16);
        const int at = static_cast<int>(column % 32);
        const unsigned q = block[1 + at % 16 / 4] >> (at < 16 ? 0 : 4);
        Floats<V> x;
        for (int k = 0; k < V; ++k) x.v[k] = static_cast<float>((q >> (8 * k)) & 0xfu) * scale + minimum;
        return x;
    }
};

}  // namespace wavllm::kernels
