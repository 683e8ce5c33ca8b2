#pragma once
// Where a tensor lives. `sim` (CUDA bodies run by a SIMT emulator) and `cuda` are names that later versions fill.

#include <cstdint>
#include <string_view>

namespace wavllm {

enum class Device : uint8_t { cpu, sim, cuda };

std::string_view name(Device device);
/// "cpu", "sim" or "cuda"; throws UsageError that lists them otherwise.
Device parse_device(std::string_view text);
/// Throws UsageError if this build cannot hold tensors on the device. Nothing falls back to the CPU silently.
void require_available(Device device);

}  // namespace wavllm
