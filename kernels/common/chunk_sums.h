#pragma once
// How sums over all elements are cut on devices (chunk_sums.cuh).

#include <cstdint>

namespace wavllm::kernels {

constexpr int64_t kSumChunk = 4096;  ///< elements that one block adds up

/// Doubles of workspace that the sum of n elements needs.
constexpr int64_t sum_chunks(int64_t n) {
    return (n + kSumChunk - 1) / kSumChunk;
}

}  // namespace wavllm::kernels
