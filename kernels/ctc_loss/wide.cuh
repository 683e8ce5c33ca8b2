#pragma once
// The wide numbers of wide.h, one at a time: positive m * 2^e with 64 bits of exponent.

#include "kernels/simt/cuda.h"

namespace wavllm::kernels {

struct WideNumber {
    double m;
    int64_t e;
};

constexpr int64_t kWideZero = -(int64_t{1} << 40);

static __device__ __forceinline__ WideNumber wide_zero() {
    return {1.0, kWideZero};
}
static __device__ __forceinline__ WideNumber wide_one() {
    return {1.0, 0};
}
/// 2^k for k <= 1000; below -1000 it stays at 2^-1000, which vanishes beside anything.
static __device__ __forceinline__ double wide_power(int64_t k) {
    const int64_t bits = ((k < -1000 ? -1000 : k) + 1023) << 52;
    return *reinterpret_cast<const double*>(&bits);
}
static __device__ __forceinline__ WideNumber add(WideNumber a, WideNumber b) {
    const int64_t e = a.e > b.e ? a.e : b.e;
    return {a.m * wide_power(a.e - e) + b.m * wide_power(b.e - e), e};
}
static __device__ __forceinline__ WideNumber add(WideNumber a, WideNumber b, WideNumber c) {
    int64_t e = a.e > b.e ? a.e : b.e;
    e = e > c.e ? e : c.e;
    return {a.m * wide_power(a.e - e) + b.m * wide_power(b.e - e) + c.m * wide_power(c.e - e), e};
}
/// The product with its exponent drawn out of m, so that m neither grows nor fades over the rows.
static __device__ __forceinline__ WideNumber multiply(WideNumber a, WideNumber b) {
    const double product = a.m * b.m;
    const int64_t bits = *reinterpret_cast<const int64_t*>(&product);  // positive, so the sign bit is 0
    const int64_t one = (bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000;
    return {*reinterpret_cast<const double*>(&one), a.e + b.e + (bits >> 52) - 1023};
}
/// a * b / c as a plain double, for quotients below 2^1000.
static __device__ __forceinline__ double ratio(WideNumber a, WideNumber b, WideNumber c) {
    return a.m * b.m / c.m * wide_power(a.e + b.e - c.e);
}
/// 2^x for finite x or -inf (zero).
static __device__ __forceinline__ WideNumber wide_exp2(double x) {
    const double lowest = static_cast<double>(kWideZero), clamped = x > lowest ? x : lowest, k = rint(clamped);
    return {exp2(clamped - k), static_cast<int64_t>(k)};
}

}  // namespace wavllm::kernels
