#pragma once
// Where a tensor lives. `sim` runs the CUDA bodies in a SIMT emulator on the CPU (docs/simt.md), `cuda` on a GPU. What a
// device has to be able to do is a DeviceMemory; the floors above register theirs, and this floor knows none of them.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace wavllm {

enum class Device : uint8_t { cpu, sim, cuda };
inline constexpr size_t kDevices = 3;

std::string_view name(Device device);
/// "cpu", "sim" or "cuda"; throws UsageError that lists them otherwise.
Device parse_device(std::string_view text);
/// Throws UsageError if this build cannot hold tensors on the device. Nothing falls back to the CPU silently.
void require_available(Device device);

/// Where weights and trainable parameters that are made now are put (models/weights.h, models/parameter.h): the CPU, or
/// what the innermost DeviceScope of this thread says. Everything else follows the tensors it works on.
Device model_device();
/// Throws UsageError if the device cannot be used.
class DeviceScope {
public:
    explicit DeviceScope(Device device);
    ~DeviceScope();
    DeviceScope(const DeviceScope&) = delete;
    DeviceScope& operator=(const DeviceScope&) = delete;

private:
    Device previous_;
};

/// Memory of a device other than the CPU. Copies are ordered with the device's work: what they read is complete, and
/// they have ended when the call returns.
class DeviceMemory {
public:
    virtual ~DeviceMemory() = default;
    /// Aligned to 256 bytes; throws Error if there is no more. `label` may be kept for messages.
    virtual void* allocate(size_t bytes) = 0;
    virtual void free(void* pointer) noexcept = 0;
    virtual void copy_in(void* device, const void* host, size_t bytes) = 0;
    virtual void copy_out(void* host, const void* device, size_t bytes) = 0;
    virtual void copy(void* to, const void* from, size_t bytes) = 0;  ///< within the device
    virtual void zero(void* device, size_t bytes) = 0;
    /// Waits for all work; throws Error for what failed in it.
    virtual void synchronize() = 0;
};

/// For the life of the process. `why_not`: says, if memory is null, what this build or machine lacks.
void register_device(Device device, DeviceMemory* memory, std::string_view why_not = {});
/// Throws UsageError as require_available does, and for the CPU.
DeviceMemory& device_memory(Device device);
/// Waits for all work of a device (of the CPU there is none) and throws Error for what failed in it: to time it.
void synchronize(Device device);

}  // namespace wavllm
