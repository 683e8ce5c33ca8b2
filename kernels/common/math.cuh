#pragma once
// e^x, the logistic function and the normal distribution on a device: step by step what kernels/common/simd.h and
// kernels/gelu/normal_cdf.h compute on 16 lanes, so that activations have the same bits on cpu, sim and cuda (where the
// compiler fuses no multiply-add that is not written: nvcc -fmad=false). What the steps mean is said there. About 20
// instructions, which a kernel that waits for memory has to spare.

#include "kernels/simt/cuda.h"

namespace wavllm::kernels {

static __device__ __forceinline__ float exp_same_bits(float x) {
    const float clamped = fminf(fmaxf(x, -87.336f), 88.72f);
    const float shifted = fmaf(clamped, 1.44269504088896341f, 12582912.0f);
    const float k = shifted - 12582912.0f;
    float r = fmaf(k, -0.693145751953125f, clamped);
    r = fmaf(k, -1.42860682030941723e-6f, r);
    float p = 1.0f / 5040;
    p = fmaf(p, r, 1.0f / 720);
    p = fmaf(p, r, 1.0f / 120);
    p = fmaf(p, r, 1.0f / 24);
    p = fmaf(p, r, 1.0f / 6);
    p = fmaf(p, r, 0.5f);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    const int ki = __float_as_int(shifted) - 0x4B400000, half = ki >> 1;
    float result = p * __int_as_float((half + 127) << 23) * __int_as_float((ki - half + 127) << 23);
    if (x < -87.336f) result = 0.0f;
    if (x > 88.72f) result = __int_as_float(0x7f800000);
    return x == x ? result : x;
}

static __device__ __forceinline__ float sigmoid(float x) {
    return 1.0f / (1.0f + exp_same_bits(-x));
}

struct Normal {
    float cdf;
    float exponential;  ///< e^(-x^2/2)
};

static __device__ __forceinline__ Normal normal_distribution(float x) {
    const float square = x * x;
    const float e = exp_same_bits(-0.5f * square);

    float a = -7.65420864e-06f;
    a = fmaf(a, square, 0.000113486373f);
    a = fmaf(a, square, -0.00118632994f);
    a = fmaf(a, square, 0.00997332341f);
    a = fmaf(a, square, -0.0664903599f);
    a = fmaf(a, square, 0.39894228f);

    const float s = 1.0f / (fabsf(x) + 2.0f);
    float r = -32.6553318f;
    r = fmaf(r, s, 47.8214564f);
    r = fmaf(r, s, -21.7988129f);
    r = fmaf(r, s, 0.17442433f);
    r = fmaf(r, s, 0.61981685f);
    r = fmaf(r, s, 1.20413634f);
    r = fmaf(r, s, 0.797794294f);
    r = fmaf(r, s, 0.398940823f);
    const float tail = e * s * r;

    const float outer = x < 0.0f ? tail : 1.0f - tail;
    return {square < 1.0f ? fmaf(x, a, 0.5f) : outer, e};
}

static __device__ __forceinline__ float silu(float x) {
    return x * sigmoid(x);
}
/// silu'(x), given sigmoid(x).
static __device__ __forceinline__ float silu_slope(float x, float s) {
    return s * fmaf(x, 1.0f - s, 1.0f);
}

static __device__ __forceinline__ float gelu(float x) {
    return x * normal_distribution(x).cdf;
}
static __device__ __forceinline__ float gelu_slope(float x) {
    const Normal normal = normal_distribution(x);
    return fmaf(x, normal.exponential * 0.398942280401432678f, normal.cdf);  // 1 / sqrt(2 pi)
}

}  // namespace wavllm::kernels
