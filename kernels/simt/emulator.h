#pragma once
// The emulator as tests and the program see it: its errors and its settings. Device memory is in memory.h, counters in
// counters.h. How it works, and what it cannot see: docs/simt.md.

#include <cstdint>

#include "tensor/error.h"

namespace wavllm::simt {

/// What a kernel did that no kernel may do: race, divergent barrier, access out of bounds ... The message names kernel,
/// block, thread and line.
class KernelError : public Error {
    using Error::Error;
};

/// The order in which threads of a block, and blocks, run. 0: ascending; any other seed: shuffled, the same every time.
/// At first the value of the environment variable WAVLLM_SIMT_SEED, or 0.
uint64_t seed();
void set_seed(uint64_t seed);

/// The race detector costs about half of a checked launch; on by default.
bool races_checked();
void set_races_checked(bool on);

/// Limits that a launch must keep on every GPU this project is for (sm_80 and later).
constexpr unsigned max_threads = 1024;
constexpr size_t max_static_shared = 48 * 1024;
constexpr size_t max_shared = 163 * 1024;

}  // namespace wavllm::simt
