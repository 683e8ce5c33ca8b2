#pragma once
// The program is compiled for one kind of CPU (-march=${WAVLLM_ARCH}). On another one it would die of an illegal
// instruction, perhaps in a static initialiser. cpu_check.cpp is compiled for the plainest CPU and runs before those:
// it prints one line that names what this CPU lacks and the way out, and ends the program with code 2.

#include <cstddef>

namespace wavllm {

/// Writes the names in `needs` (separated by spaces, as in "avx2 fma") for which has(name) is false to `missing`,
/// separated by ", " and ended by a zero byte, and returns their number. Names that do not fit into `capacity` bytes
/// are counted but not written. capacity must be at least 1. Plain C types on purpose: a std::string's inline members
/// may have been linked from a file compiled for the newer CPU.
int missing_cpu_features(const char* needs, bool (*has)(const char* name), char* missing, size_t capacity);

/// Whether this CPU and its operating system offer the feature, by GCC's name for it ("avx512bf16"). An unknown name
/// counts as offered: a check that knows less than the compiler must not stop a program that would run.
bool cpu_has_feature(const char* name);

/// The features that this binary was compiled for, separated by spaces; empty where there is nothing to check.
const char* needed_cpu_features();

}  // namespace wavllm
