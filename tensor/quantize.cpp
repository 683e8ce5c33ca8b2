#include "tensor/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

constexpr size_t kBlock = 32;
constexpr float kLargest = 65504;  // of f16

void put_half(uint8_t* p, f16 h) {
    std::memcpy(p, &h, sizeof h);
}

/// The smallest f16 that is not below a finite x >= 0, which may be -0.
f16 half_above(float x) {
    f16 h = to_f16(x + 0.0f);
    if (to_f32(h) < x) ++h.bits;
    return h;
}

/// The largest f16 that is not above x.
f16 half_below(float x) {
    f16 h = to_f16(x);
    if (to_f32(h) > x) {
        if (h.bits == 0)
            h.bits = 0x8001;
        else
            h.bits = static_cast<uint16_t>(h.bits & 0x8000U ? h.bits + 1 : h.bits - 1);
    }
    if (h.bits == 0x8000) h.bits = 0;  // no -0
    return h;
}

struct Range {
    float low = 0, high = 0;
    float size() const {
        return std::max(std::abs(low), std::abs(high));
    }
};

Range range_of(const float* x, size_t n, std::string_view what) {
    Range r{x[0], x[0]};
    float spoilt = 0;  // 0 * x is NaN where x is not finite
    for (size_t i = 0; i < n; ++i) {
        r.low = std::min(r.low, x[i]);
        r.high = std::max(r.high, x[i]);
        spoilt += 0 * x[i];
    }
    if (!(spoilt == 0) || r.size() > kLargest)
        throw UsageError(
            "weight {} cannot be quantised: it holds a value that is not finite or beyond 65504; check the file, or "
            "keep it in f32",
            what.empty() ? "(without a name)" : printable(what));
    return r;
}

/// Nearest whole number, ties to even, of |x| < 2^22.
float nearest(float x) {
    constexpr float kShift = 12582912;  // 1.5 * 2^23
    return x + kShift - kShift;
}

/// x / d rounded, within [low, high]. The division itself, not a product with 1 / d: exact multiples come out exactly.
void levels(const float* x, size_t n, float d, float shift, float low, float high, int8_t* q) {
    if (d == 0) return static_cast<void>(std::memset(q, 0, n));
    for (size_t i = 0; i < n; ++i)
        q[i] = static_cast<int8_t>(std::min(high, std::max(low, nearest((x[i] - shift) / d))));
}

void put_q8(const float* x, f16 d, uint8_t* out) {
    put_half(out, d);
    int8_t q[kBlock];
    levels(x, kBlock, to_f32(d), 0, -127, 127, q);
    std::memcpy(out + 2, q, kBlock);
}

void put_nibbles(const int8_t* q, uint8_t* out) {
    for (size_t i = 0; i < kBlock / 2; ++i)
        out[i] = static_cast<uint8_t>(static_cast<uint8_t>(q[i]) | static_cast<uint8_t>(q[i + kBlock / 2]) << 4);
}

void put_q4_1(const float* x, const Range& r, uint8_t* out) {
    f16 m = half_below(std::max(-kLargest, r.low));
    f16 d = half_above((r.high - to_f32(m)) / 15);
    if (d.bits != 0) {
        // Products read m - 16 d and m - 256 d, which must be exact in f32 (kernels/gemm/gemm_blocks.h): d is not too far
        // below m, and m keeps no bits below 2^-14 of d's highest one.
        if (m.bits != 0) d = half_above(std::max(to_f32(d), std::ldexp(1.0f, std::ilogb(to_f32(m)) - 16)));
        const float step = std::ldexp(1.0f, std::ilogb(to_f32(d)) - 14);
        m = half_below(std::floor(to_f32(m) / step) * step);
    }
    put_half(out, d);
    put_half(out + 2, m);
    int8_t q[kBlock];
    levels(x, kBlock, to_f32(d), to_f32(m), 0, 15, q);
    put_nibbles(q, out + 4);
}

void put_q4_0(const float* x, const Range& r, uint8_t* out) {
    f16 d = to_f16(-(r.high > -r.low ? r.high : r.low) / 8);
    if (d.bits == 0x8000) d.bits = 0;
    put_half(out, d);
    int8_t q[kBlock];
    levels(x, kBlock, to_f32(d), -8 * to_f32(d), 0, 15, q);
    if (d.bits == 0) std::fill(q, q + kBlock, int8_t{8});
    put_nibbles(q, out + 2);
}

}  // namespace

void quantize_row(DType dtype, const float* x, size_t columns, void* out, std::string_view what) {
    if (!info(dtype).frozen_block) throw DTypeError("quantize: {} is no format of quantised weights", name(dtype));
    bytes_for(dtype, columns);  // throws where there is half a block
    auto* p = static_cast<uint8_t*>(out);
    f16 d{0};
    if (dtype == DType::int8 && columns > 0) d = half_above(range_of(x, columns, what).size() / 127);
    for (size_t i = 0; i < columns; i += kBlock, x += kBlock, p += info(dtype).block_bytes) {
        if (dtype == DType::int8) {
            put_q8(x, d, p);
            continue;
        }
        const Range r = range_of(x, kBlock, what);
        if (dtype == DType::q8_0)
            put_q8(x, half_above(r.size() / 127), p);
        else if (dtype == DType::q4_1)
            put_q4_1(x, r, p);
        else
            put_q4_0(x, r, p);
    }
}

void widen_q4_0(const void* from, void* to, size_t blocks) {
    const auto* in = static_cast<const uint8_t*>(from);
    auto* out = static_cast<uint8_t*>(to);
    for (size_t b = 0; b < blocks; ++b, in += 18, out += 20) {
        f16 d;
        std::memcpy(&d, in, sizeof d);
        const float m = -8 * to_f32(d);
        if (!(std::abs(m) <= kLargest))
            throw UsageError("a block of q4_0 has the scale {}, for which q4_1 has no minimum; pack the weight as bf16",
                             to_f32(d));
        put_half(out, d);
        put_half(out + 2, to_f16(m == 0 ? 0.0f : m));
        std::memcpy(out + 4, in + 2, 16);
    }
}

}  // namespace wavllm
