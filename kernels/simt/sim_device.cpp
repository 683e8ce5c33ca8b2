// Device::sim's memory: the emulator's, with its red zones and its record of what was written.

#include <vector>

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
        if (bytes > 0) copy_to_device(device, host, bytes);
    }
    void copy_out(void* host, const void* device, size_t bytes) override {
        if (bytes > 0) copy_from_device(host, device, bytes);
    }
    void copy(void* to, const void* from, size_t bytes) override {
        std::vector<char> host(bytes);
        copy_out(host.data(), from, bytes);
        copy_in(to, host.data(), bytes);
    }
    void zero(void* device, size_t bytes) override {
        const std::vector<char> zeros(bytes);
        copy_in(device, zeros.data(), bytes);
    }
    void synchronize() override {}  // launches have run when they return
};

[[maybe_unused]] const bool registered = [] {
    static SimMemory memory;
    register_device(Device::sim, &memory);
    return true;
}();

}  // namespace

}  // namespace wavllm::simt
