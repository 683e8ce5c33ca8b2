#pragma once
// Sequences that lie end to end.

#include "kernels/simt/cuda.h"

namespace wavllm::kernels {

/// The sequence of a row: the last one that begins at or before it. Empty ones begin where the next does.
static __device__ __forceinline__ int64_t segment_of(int64_t row, const int64_t* borders, int64_t segments) {
    int64_t low = 0, high = segments - 1;
    while (low < high) {
        const int64_t middle = (low + high + 1) / 2;
        if (borders[middle] <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

}  // namespace wavllm::kernels
