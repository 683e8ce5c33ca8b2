#pragma once
// Random numbers without state: Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
// A number is a function of (seed, purpose, step, index) alone, so it does not matter which thread or device asks, in
// which order, or whether the run was resumed.

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

// Kernels of devices draw the same numbers from philox_rounds; it is always inlined, since the builds of a .cu file must
// not share code.
#ifdef __CUDACC__
#define WAVLLM_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define WAVLLM_HOST_DEVICE inline __attribute__((always_inline))
#endif

namespace wavllm {

/// FNV-1a hash of a purpose such as "dropout.layers.3.q_proj"; distinct purposes give independent streams.
constexpr uint32_t purpose_hash(std::string_view purpose) {
    uint32_t h = 2166136261U;
    for (char c : purpose) h = (h ^ static_cast<uint8_t>(c)) * 16777619U;
    return h;
}

/// The ten rounds of Philox 4x32 on one counter.
WAVLLM_HOST_DEVICE void philox_rounds(uint32_t (&c)[4], uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = uint64_t{0xD2511F53U} * c[0], b = uint64_t{0xCD9E8D57U} * c[2];
        c[0] = static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0;
        c[1] = static_cast<uint32_t>(b);
        c[2] = static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1;
        c[3] = static_cast<uint32_t>(a);
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
}
inline std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, uint32_t k0, uint32_t k1) {
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
    philox_rounds(c, k0, k1);
    return {c[0], c[1], c[2], c[3]};
}

class Philox {
public:
    Philox(uint64_t seed, std::string_view purpose, uint32_t step) : Philox(seed, purpose_hash(purpose), step) {}
    Philox(uint64_t seed, uint32_t purpose, uint32_t step) : seed_(seed), purpose_(purpose), step_(step) {}

    /// Four numbers at once: those of indices 4*block .. 4*block+3.
    std::array<uint32_t, 4> block(uint64_t block) const {
        return philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), step_, purpose_},
                          static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32));
    }
    uint32_t bits(uint64_t index) const {
        return block(index / 4)[index % 4];
    }
    /// Uniform in [0, 1): 24 random bits.
    float uniform(uint64_t index) const {
        return to_uniform(bits(index));
    }
    static float to_uniform(uint32_t bits) {
        return static_cast<float>(bits >> 8) * 0x1p-24f;
    }
    /// Standard normal (Box-Muller in double on the two numbers at 2*index).
    float normal(uint64_t index) const {
        const auto u = block(index / 2);
        const size_t at = index % 2 * 2;
        const double a = (u[at] + 0.5) * 0x1p-32, b = (u[at + 1] + 0.5) * 0x1p-32;
        return static_cast<float>(std::sqrt(-2 * std::log(a)) * std::cos(2 * std::numbers::pi * b));
    }

private:
    uint64_t seed_;
    uint32_t purpose_, step_;
};

}  // namespace wavllm
