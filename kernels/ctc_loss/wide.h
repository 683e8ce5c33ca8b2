#pragma once
// Positive numbers m * 2^e whose exponent has 64 bits, eight at a time. The sums over alignments run over products of
// hundreds of probabilities, which underflow a double. Logarithms would do, at two or three exp and a log for each sum;
// with the exponent apart a sum is a shift and an addition, and keeps all 53 bits however small the number is.

#include <cstdint>
#include <cstring>

#include "kernels/common/simd.h"

namespace wavllm::kernels {

using vd [[gnu::vector_size(64)]] = double;
using vl [[gnu::vector_size(64)]] = int64_t;
inline constexpr int64_t kWideLanes = 8;

/// m is in [1, 2) after multiply(), within a factor of 3 of it elsewhere. Zero is kZero = 2^-2^40: products and sums with
/// it need no special case, and below 2^-2^39 nothing else is found.
struct Wide {
    vd m;
    vl e;
};

inline constexpr int64_t kZeroExponent = -(int64_t{1} << 40);

WAVLLM_INLINE vl vmax(vl a, vl b) {
    return a > b ? a : b;
}
/// 2^k for k <= 1000; below -1000 it stays at 2^-1000, which vanishes beside anything.
WAVLLM_INLINE vd power_of_two(vl k) {
    return (vd)((vmax(k, vl{} - 1000) + 1023) << 52);
}
WAVLLM_INLINE Wide add(Wide a, Wide b) {
    const vl e = vmax(a.e, b.e);
    return {a.m * power_of_two(a.e - e) + b.m * power_of_two(b.e - e), e};
}
WAVLLM_INLINE Wide add(Wide a, Wide b, Wide c) {
    const vl e = vmax(vmax(a.e, b.e), c.e);
    return {a.m * power_of_two(a.e - e) + b.m * power_of_two(b.e - e) + c.m * power_of_two(c.e - e), e};
}
/// The product with its exponent drawn out of m, so that m neither grows nor fades over the rows.
WAVLLM_INLINE Wide multiply(Wide a, Wide b) {
    const vl bits = (vl)(a.m * b.m);  // positive, so the sign bit is 0
    return {(vd)((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000), a.e + b.e + (bits >> 52) - 1023};
}
/// a * b / c as plain doubles, for quotients below 2^1000.
WAVLLM_INLINE vd ratio(Wide a, Wide b, Wide c) {
    return a.m * b.m / c.m * power_of_two(a.e + b.e - c.e);
}

/// 2^x for finite x or -inf (zero): 2^k times e^(f ln2), |f| <= 1/2 (Taylor to degree 11, error below 1e-14).
WAVLLM_INLINE Wide exp2_wide(vd x) {
    const vd lowest = vd{} + static_cast<double>(kZeroExponent);
    const vd clamped = x > lowest ? x : lowest;
    const vd magic = vd{} + 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
    const vd shifted = clamped + magic;
    const vd g = (clamped - (shifted - magic)) * 0.69314718055994530942;
    double c = 1.0 / 39916800;  // 1/11!
    vd p = vd{} + c;
#pragma GCC unroll 11
    for (int n = 11; n > 0; --n) {
        c *= n;
        p = p * g + c;
    }
    return {p, (vl)shifted - (vl)magic};
}

/// A row of wide numbers in memory.
struct WideRow {
    double* m;
    int64_t* e;

    WAVLLM_INLINE Wide at(int64_t n) const {
        Wide w;
        std::memcpy(&w.m, m + n, sizeof w.m);
        std::memcpy(&w.e, e + n, sizeof w.e);
        return w;
    }
    WAVLLM_INLINE void put(int64_t n, Wide w) const {
        std::memcpy(m + n, &w.m, sizeof w.m);
        std::memcpy(e + n, &w.e, sizeof w.e);
    }
    void set_zero(int64_t begin, int64_t end) const {
        std::fill(m + begin, m + end, 1.0);
        std::fill(e + begin, e + end, kZeroExponent);
    }
    void set_one(int64_t n) const {
        m[n] = 1.0;
        e[n] = 0;
    }
};

}  // namespace wavllm::kernels
