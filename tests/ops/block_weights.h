#pragma once
#include <cstring>

#include "tensor/tensor.h"

namespace wavllm::tests {

/// A weight [n, k] of blocks (q4_1 or q8_0) with all kinds of q and ordinary scales.
inline Tensor in_blocks_of(DType dtype, int64_t n, int64_t k) {
    Tensor w = Tensor::empty({n, k}, dtype);
    auto* bytes = static_cast<uint8_t*>(w.mutable_raw());
    const auto block = static_cast<size_t>(info(dtype).block_bytes);
    for (size_t i = 0; i < w.bytes(); ++i) bytes[i] = static_cast<uint8_t>((i * 37 + i / 7 * 11) % 251);
    for (size_t b = 0; b < w.bytes(); b += block) {
        const f16 d = to_f16(0.01f + 0.001f * static_cast<float>(b / block % 13)), m = to_f16(-0.07f);
        std::memcpy(bytes + b, &d, 2);
        if (dtype == DType::q4_1) std::memcpy(bytes + b + 2, &m, 2);
    }
    return w;
}

}  // namespace wavllm::tests
