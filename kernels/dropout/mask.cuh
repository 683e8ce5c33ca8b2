#pragma once
// Dropout masks on a device, bit for bit those of dropout_row (kernels/dropout/dropout.h): for dropout and for ops that
// drop as they go.

#include "kernels/dropout/dropout_body.h"
#include "kernels/simt/cuda.h"

namespace wavllm::kernels {

/// Philox 4x32-10, as tensor/philox.h: four random words.
static __device__ __forceinline__ uint4 philox4x32(uint4 c, uint64_t seed) {
    unsigned k0 = static_cast<unsigned>(seed), k1 = static_cast<unsigned>(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned a = __umulhi(0xD2511F53u, c.x), b = __umulhi(0xCD9E8D57u, c.z);
        c = make_uint4(b ^ c.y ^ k0, 0xCD9E8D57u * c.z, a ^ c.w ^ k1, 0xD2511F53u * c.x);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

/// The random words of columns 4 * four to 4 * four + 3 of the row with this key.
static __device__ __forceinline__ uint4 dropout_bits(const DropoutMask& mask, int64_t row_key, int64_t four) {
    const uint64_t block = (static_cast<uint64_t>(row_key) << 18) + static_cast<uint64_t>(four);
    return philox4x32(
        make_uint4(static_cast<unsigned>(block), static_cast<unsigned>(block >> 32), mask.step, mask.purpose),
        mask.seed);
}

static __device__ __forceinline__ float drop(const DropoutMask& mask, unsigned bits, float x) {
    return bits >= mask.threshold ? x * mask.factor : 0.0f;
}

}  // namespace wavllm::kernels
