#pragma once
// Which part of many that lie one behind another an element belongs to: a row its sequence, a block its tensor.

#include <cstdint>

#include "kernels/simt/cuda.h"

namespace wavllm::kernels {

/// The last of `count` ascending borders that is at or before `at`, or 0: empty parts begin where the next one does.
static __device__ __forceinline__ int64_t part_of(const int64_t* borders, int64_t count, int64_t at) {
    int64_t low = 0, high = count - 1;
    while (low < high) {
        const int64_t middle = (low + high + 1) / 2;
        if (borders[middle] <= at)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

}  // namespace wavllm::kernels
