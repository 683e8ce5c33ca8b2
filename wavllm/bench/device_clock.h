#pragma once
// Seconds that a device works, for benchmarks.

#include <functional>

#include "tensor/device.h"

namespace wavllm {

class DeviceClock {
public:
    virtual ~DeviceClock() = default;
    /// Seconds that the device spends on what `work` asks of it, waited for. On a GPU by its own events, beginning with
    /// caches that hold nothing of the work's.
    virtual double seconds(const std::function<void()>& work) = 0;
};

/// The clock of a device: a stopwatch for the CPU and the emulator (whose time says nothing about a GPU's).
DeviceClock& device_clock(Device device);
/// For the life of the process: in place of the stopwatch.
void register_device_clock(Device device, DeviceClock* clock);

}  // namespace wavllm
