#pragma once
// Device memory of the emulator. Every allocation lies between red zones and knows which of its bytes were written;
// what was freed stays poisoned in quarantine for a while. Kernels of the checked build are held to that; host code
// may read and write the memory directly, but says so (mark_written) or uses copy_to_device.

#include <cstddef>

namespace wavllm::simt {

/// Bytes aligned to 256, as cudaMalloc's, filled with signalling NaNs. `label` names the memory in errors; it is not
/// copied. Throws Error if the emulator's address range (16 GiB) is used up.
void* allocate(size_t bytes, const char* label = nullptr);
/// Throws Error if `pointer` did not come from allocate() or was freed before. Null is allowed.
void deallocate(void* pointer);
/// Whether `pointer` is device memory, live or freed.
bool is_device_pointer(const void* pointer);

/// Throw Error if the device's side is not one live allocation, or (from the device) was never written.
void copy_to_device(void* device, const void* host, size_t bytes);
void copy_from_device(void* host, const void* device, size_t bytes);
/// For host code that wrote to device memory itself.
void mark_written(void* device, size_t bytes);

struct MemoryAccount {
    size_t bytes = 0;        ///< live, as asked for
    size_t peak = 0;         ///< most at once
    size_t allocations = 0;  ///< live
    size_t quarantine = 0;   ///< bytes freed and not yet used again
};
MemoryAccount memory_account();
/// Bytes that stay in quarantine before the oldest are used again; 64 MiB by default.
void set_quarantine(size_t bytes);

/// Owns an allocation of n elements.
template <class T>
class DeviceArray {
public:
    explicit DeviceArray(size_t n, const char* label = nullptr)
        : data_(static_cast<T*>(allocate(n * sizeof(T), label))), n_(n) {}
    ~DeviceArray() {
        deallocate(data_);
    }
    DeviceArray(const DeviceArray&) = delete;
    DeviceArray& operator=(const DeviceArray&) = delete;
    T* data() const {
        return data_;
    }
    size_t size() const {
        return n_;
    }

private:
    T* data_;
    size_t n_;
};

}  // namespace wavllm::simt
