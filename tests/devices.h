#pragma once
// Which devices the tests of ops and models run on, besides the CPU.

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/device.h"
#include "tensor/error.h"

namespace wavllm {

/// sim, and cuda where this build and this machine have it. $WAVLLM_TEST_DEVICES (sim, cuda, or both with a comma) says
/// otherwise; a device that is named there and cannot be used is an error, and so is none.
inline const std::vector<Device>& test_devices() {
    static const std::vector<Device> devices = [] {
        std::vector<Device> found;
        if (const char* names = std::getenv("WAVLLM_TEST_DEVICES")) {
            std::string_view rest = names;
            while (true) {
                const size_t comma = rest.find(',');
                const Device device = parse_device(rest.substr(0, comma));
                require_available(device);
                if (device == Device::cpu)
                    throw UsageError("WAVLLM_TEST_DEVICES: the cpu is what devices are compared with");
                found.push_back(device);
                if (comma == std::string_view::npos) return found;
                rest.remove_prefix(comma + 1);
            }
        }
        found.push_back(Device::sim);
        try {
            require_available(Device::cuda);
            found.push_back(Device::cuda);
        } catch (const UsageError&) {  // the usual case: no GPU
        }
        return found;
    }();
    return devices;
}

/// Whether the tests run there: what is asked of the emulator alone (counters, order of threads) asks this first.
inline bool tests_run_on(Device device) {
    for (const Device d : test_devices())
        if (d == device) return true;
    return false;
}

}  // namespace wavllm
