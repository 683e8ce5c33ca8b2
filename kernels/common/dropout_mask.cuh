#pragma once
// The masks of kernels/dropout on a device: the same bits as the CPU's.

#include "kernels/common/dropout_mask.h"
#include "kernels/simt/cuda.h"
#include "tensor/philox.h"

namespace wavllm::kernels {

/// The random bits of columns 4 * group .. 4 * group + 3 of a row: index row_key * 2^20 + column of the stream.
static __device__ __forceinline__ void mask_bits(const DropoutMask& mask, int64_t row, int64_t group,
                                                 uint32_t (&bits)[4]) {
    const uint64_t block = (static_cast<uint64_t>(mask.row_keys[row]) << 18) + static_cast<uint64_t>(group);
    bits[0] = static_cast<uint32_t>(block);
    bits[1] = static_cast<uint32_t>(block >> 32);
    bits[2] = mask.step;
    bits[3] = mask.purpose;
    philox_rounds(bits, static_cast<uint32_t>(mask.seed), static_cast<uint32_t>(mask.seed >> 32));
}

/// Of such bits those of one column; bits[column % 4] would put them into memory.
static __device__ __forceinline__ uint32_t word_of(const uint32_t (&bits)[4], int64_t column) {
    const int at = static_cast<int>(column % 4);
    return at < 2 ? (at == 0 ? bits[0] : bits[1]) : (at == 2 ? bits[2] : bits[3]);
}

/// v / (1 - p) or 0.
static __device__ __forceinline__ float drop(const DropoutMask& mask, uint32_t bits, float v) {
    return bits >= mask.threshold ? __fmul_rn(v, mask.factor) : 0.0f;
}

}  // namespace wavllm::kernels
