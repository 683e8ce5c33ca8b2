#pragma once
// The arithmetic of drawing from logits, in integers: a weight is e^x in units of 2^-40, and sums of weights are exact.
// So they do not depend on the order in which anybody adds, a threshold is the same wherever it is looked for, and cpu,
// sim and cuda choose the same token of the same logits. What is less likely than e^-28 times the likeliest token weighs
// nothing.

#include <cstdint>
#include <cstring>

#include "tensor/philox.h"

namespace wavllm::kernels {

constexpr float kWeightUnit = 0x1p40f, kNoWeight = -28.0f;
constexpr int64_t kMaxLogits = int64_t{1} << 22;  ///< of a row: a sum of weights stays below 2^62

/// Rises as x does, as an unsigned number; equal for -0 and 0. A NaN is above all, so that it shows.
WAVLLM_HOST_DEVICE uint32_t sort_key(float x) {
    if (!(x == x)) return 0xffffffffu;
    x = x + 0.0f;
    uint32_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

/// The 64 random bits of a request's position: no two (request, position) share any.
WAVLLM_HOST_DEVICE uint64_t draw_bits(uint64_t seed, uint32_t purpose, uint64_t request, uint32_t position) {
    uint32_t c[4] = {static_cast<uint32_t>(request), static_cast<uint32_t>(request >> 32), position, purpose};
    philox_rounds(c, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    return static_cast<uint64_t>(c[1]) << 32 | c[0];
}

/// The mass that a nucleus must reach: at least p of the whole, and at least something.
WAVLLM_HOST_DEVICE uint64_t nucleus_target(double p, uint64_t total) {
    const double share = p * static_cast<double>(total);
    const auto floor = static_cast<uint64_t>(share);
    const uint64_t target = static_cast<double>(floor) < share ? floor + 1 : floor;
    return target < 1 ? 1 : target > total ? total : target;
}

}  // namespace wavllm::kernels
