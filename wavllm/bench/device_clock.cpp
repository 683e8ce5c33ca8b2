#include "wavllm/bench/device_clock.h"

#include <array>

#include "wavllm/support/stopwatch.h"

namespace wavllm {

namespace {

class Watch final : public DeviceClock {
public:
    explicit Watch(Device device) : device_(device) {}
    double seconds(const std::function<void()>& work) override {
        if (device_ != Device::cpu) device_memory(device_).synchronize();
        const Stopwatch watch;
        work();
        if (device_ != Device::cpu) device_memory(device_).synchronize();
        return watch.seconds();
    }

private:
    Device device_;
};

std::array<DeviceClock*, kDevices>& clocks() {
    static Watch cpu{Device::cpu}, sim{Device::sim}, cuda{Device::cuda};
    static std::array<DeviceClock*, kDevices> all{&cpu, &sim, &cuda};
    return all;
}

}  // namespace

DeviceClock& device_clock(Device device) {
    return *clocks()[static_cast<size_t>(device)];
}

void register_device_clock(Device device, DeviceClock* clock) {
    clocks()[static_cast<size_t>(device)] = clock;
}

}  // namespace wavllm
