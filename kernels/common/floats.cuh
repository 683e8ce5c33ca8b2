#pragma once
// V neighbouring floats as one load or store: four where rows start on 16 bytes, else one. Threads side by side then read
// side by side, so that a warp's request is 512 (or 128) bytes without a gap.

#include "kernels/simt/cuda.h"

namespace wavllm::kernels {

template <int V>
struct Floats;

template <>
struct Floats<1> {
    float v[1];
    static __device__ __forceinline__ Floats load(const float* p) {
        return {{*p}};
    }
    __device__ __forceinline__ void store(float* p) const {
        *p = v[0];
    }
};

template <>
struct Floats<2> {
    float v[2];
    static __device__ __forceinline__ Floats load(const float* p) {
        const float2 a = *reinterpret_cast<const float2*>(p);
        return {{a.x, a.y}};
    }
    __device__ __forceinline__ void store(float* p) const {
        *reinterpret_cast<float2*>(p) = make_float2(v[0], v[1]);
    }
};

template <>
struct Floats<4> {
    float v[4];
    static __device__ __forceinline__ Floats load(const float* p) {
        const float4 a = *reinterpret_cast<const float4*>(p);
        return {{a.x, a.y, a.z, a.w}};
    }
    __device__ __forceinline__ void store(float* p) const {
        *reinterpret_cast<float4*>(p) = make_float4(v[0], v[1], v[2], v[3]);
    }
};

}  // namespace wavllm::kernels
