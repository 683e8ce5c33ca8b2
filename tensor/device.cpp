#include "tensor/device.h"

#include "tensor/error.h"

namespace wavllm {

std::string_view name(Device device) {
    switch (device) {
        case Device::cpu: return "cpu";
        case Device::sim: return "sim";
        default: return "cuda";
    }
}

Device parse_device(std::string_view text) {
    for (Device device : {Device::cpu, Device::sim, Device::cuda})
        if (text == name(device)) return device;
    throw UsageError("unknown device \"{}\"; the devices are cpu, sim and cuda", text);
}

void require_available(Device device) {
    if (device != Device::cpu)
        throw UsageError("device {} is not part of this build yet; use --device cpu", name(device));
}

}  // namespace wavllm
