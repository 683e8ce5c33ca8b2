#pragma once
// A block's shared memory on the host: the dynamic part first, then each variable as it is met, all between red zones.

#include <cstddef>

#include "kernels/simt/engine/races.h"

namespace wavllm::simt {

constexpr size_t shared_capacity = 512 * 1024;
constexpr size_t shared_redzone = 128;  ///< a multiple of what all banks hold, so that red zones shift no bank

/// Where the next variable may begin after `bytes`.
constexpr size_t shared_round(size_t bytes) {
    return (bytes + 127) / 128 * 128 + shared_redzone;
}

void allocate_shared(unsigned char*& memory, unsigned char*& states, Cell*& cells);
void free_shared(unsigned char* memory, unsigned char* states, Cell* cells);
/// Forgets the `used` bytes of the block before and makes room for `dynamic_bytes` at the begin.
void reset_shared(unsigned char* memory, unsigned char* states, size_t used, size_t dynamic_bytes);

}  // namespace wavllm::simt
