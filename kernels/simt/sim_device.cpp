// Device::sim: tensors in the emulator's memory. Launches have run when they return, so nothing is ever waited for.

#include <cstring>

#include "kernels/simt/memory.h"
#include "tensor/device.h"

namespace wavllm::simt {

namespace {

class SimMemory final : public DeviceMemory {
public:
    void* allocate(size_t bytes) override {
        return simt::allocate(bytes);
    }
    void free(void* pointer) noexcept override {
        simt::deallocate(pointer);
    }
    void copy_in(void* device, const void* host, size_t bytes) override {
        copy_to_device(device, host, bytes);
    }
    void copy_out(void* host, const void* device, size_t bytes) override {
        copy_from_device(host, device, bytes);
    }
    void copy(void* to, const void* from, size_t bytes) override {
        if (bytes > 0) std::memmove(to, from, bytes);
        mark_written(to, bytes);
    }
    void zero(void* device, size_t bytes) override {
        if (bytes > 0) std::memset(device, 0, bytes);
        mark_written(device, bytes);
    }
    void synchronize() override {}
};

[[maybe_unused]] const bool registered = [] {
    static SimMemory memory;
    register_device(Device::sim, &memory);
    return true;
}();

}  // namespace

}  // namespace wavllm::simt
