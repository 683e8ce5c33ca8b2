#pragma once
// What the emulator's tests share: device copies of vectors, and seeds that end with their scope.

#include <string>
#include <vector>

#include "kernels/simt/body.h"
#include "kernels/simt/emulator.h"
#include "kernels/simt/memory.h"

namespace wavllm::simt_tests {

/// Device memory with the values of a vector.
template <class T>
class OnDevice : public simt::DeviceArray<T> {
public:
    explicit OnDevice(const std::vector<T>& values, const char* label = nullptr)
        : simt::DeviceArray<T>(values.size(), label) {
        simt::copy_to_device(this->data(), values.data(), values.size() * sizeof(T));
    }
};

template <class T>
std::vector<T> values(const simt::DeviceArray<T>& device) {
    std::vector<T> host(device.size());
    simt::copy_from_device(host.data(), device.data(), host.size() * sizeof(T));
    return host;
}

class SeedScope {
public:
    explicit SeedScope(uint64_t seed) : before_(simt::seed()) {
        simt::set_seed(seed);
    }
    ~SeedScope() {
        simt::set_seed(before_);
    }
    SeedScope(const SeedScope&) = delete;
    SeedScope& operator=(const SeedScope&) = delete;

private:
    uint64_t before_;
};

/// f(build) under both host builds and five orders of threads.
template <class F>
void in_any_order(F&& f) {
    for (const Build build : {Build::simt, Build::simt_checked})
        for (const uint64_t seed : {0, 1, 2, 3, 12345}) {
            SeedScope scope(seed);
            f(build);
        }
}

/// What the KernelError says that f throws; "no error" if it throws none.
template <class F>
std::string error_of(F&& f) {
    try {
        f();
    } catch (const simt::KernelError& e) {
        return e.what();
    }
    return "no error";
}

}  // namespace wavllm::simt_tests
