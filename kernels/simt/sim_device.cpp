// The device `sim` (tensor/device.h): its memory is the emulator's, and its work is done when a launch returns.

#include <cstring>

#include "kernels/simt/memory.h"
#include "tensor/device.h"

namespace wavllm {

namespace {

class SimMemory final : public DeviceMemory {
public:
    void* allocate(size_t bytes) override {
        return simt::allocate(bytes == 0 ? 1 : bytes, "tensor");
    }
    void free(void* pointer) noexcept override {
        simt::deallocate(pointer);
    }
    void copy_in(void* device, const void* host, size_t bytes) override {
        if (bytes > 0) simt::copy_to_device(device, host, bytes);
    }
    void copy_out(void* host, const void* device, size_t bytes) override {
        if (bytes > 0) simt::copy_from_device(host, device, bytes);
    }
    void copy(void* to, const void* from, size_t bytes) override {
        if (bytes > 0) simt::copy_to_device(to, from, bytes);
    }
    void zero(void* device, size_t bytes) override {
        if (bytes == 0) return;
        std::memset(device, 0, bytes);
        simt::mark_written(device, bytes);
    }
    void synchronize() override {}
};

SimMemory sim_memory;
[[maybe_unused]] const bool registered = (register_device(Device::sim, &sim_memory), true);

}  // namespace

}  // namespace wavllm
