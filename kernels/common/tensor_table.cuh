#pragma once
// One launch for many tensors of different sizes: LoRA has hundreds of small ones, and a launch for each would take longer
// than its work. The launch's arguments (4 KiB) hold a table of tensors and of the block at which each one's begin.

#include <cstdint>

#include "kernels/simt/cuda.h"

namespace wavllm::kernels {

/// The last of `count` entries that begins at or before the block.
static __device__ __forceinline__ int entry_of_block(const int64_t* first_block, int count, int64_t block) {
    int low = 0, high = count - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (first_block[middle] <= block)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

}  // namespace wavllm::kernels
