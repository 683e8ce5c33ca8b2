#pragma once
// What is known of each byte of device and shared memory, one byte of shadow each. Device memory lies in one reserved
// range of addresses, so its shadow is found by adding a constant.

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/simt/engine/races.h"

namespace wavllm::simt {

enum ByteState : unsigned char {
    outside = 0,  ///< red zone, or nothing at all
    unwritten = 1,
    written = 2,
    freed = 3,
    copying = 4,  ///< a cp.async is on its way there
};

/// Signalling NaN as f32 and bf16, NaN as f16, and far out of any bounds as an index.
constexpr uint32_t poison = 0x7fb07fb0u;
/// Fills bytes from a 4-byte aligned address.
void fill_poison(void* p, size_t bytes);

struct DeviceRange {
    uintptr_t begin = 0;
    size_t bytes = 0;
    unsigned char* states = nullptr;
    Cell* cells = nullptr;  ///< one for 4 bytes; null until a checked launch needs them
};
/// The range; all zero before the first allocation.
extern DeviceRange device_range;
void need_device_cells();

/// "\"x\" (400 bytes), 4 bytes beyond its end", for an address that no kernel may use, or that was never written.
std::string describe_device_address(uintptr_t address);
/// Whether a plain-build launch may have written there unseen.
bool maybe_written_unseen(uintptr_t address);
/// From now on every live allocation may have been written by a launch that was not watched.
void note_unwatched_launch();

/// Whether all (`count`) states from `s` are `want`; count is most often 4.
inline bool all_states(const unsigned char* s, size_t count, ByteState want) {
    const uint32_t four = want * 0x01010101u;
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        uint32_t v;
        __builtin_memcpy(&v, s + i, 4);
        if (v != four) return false;
    }
    for (; i < count; ++i)
        if (s[i] != want) return false;
    return true;
}

}  // namespace wavllm::simt
