#include "tensor/device.h"

#include <array>
#include <mutex>
#include <string>

#include "tensor/error.h"
#include "tensor/find_device.h"

namespace wavllm {

namespace {

struct Entry {
    DeviceMemory* memory = nullptr;
    std::string why_not = "it is not part of this build";
    FindDevice find = nullptr;
    std::once_flag looked;
};

Entry& entry(Device device) {
    static std::array<Entry, kDevices> entries;  // devices register themselves before main()
    return entries[static_cast<size_t>(device)];
}

/// The same, looked for.
Entry& found(Device device) {
    Entry& e = entry(device);
    std::call_once(e.looked, [&] {
        if (e.find) e.memory = e.find(e.why_not);
    });
    return e;
}

thread_local Device t_model_device = Device::cpu;

}  // namespace

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

void register_device(Device device, DeviceMemory* memory, std::string_view why_not) {
    entry(device).memory = memory;
    if (!why_not.empty()) entry(device).why_not = why_not;
}

void register_device(Device device, FindDevice find) {
    entry(device).find = find;
}

void require_available(Device device) {
    if (device == Device::cpu) return;
    if (const Entry& e = found(device); !e.memory)
        throw UsageError("device {} cannot be used: {}; use --device cpu", name(device), e.why_not);
}

Device model_device() {
    return t_model_device;
}

DeviceScope::DeviceScope(Device device) : previous_(t_model_device) {
    require_available(device);
    t_model_device = device;
}

DeviceScope::~DeviceScope() {
    t_model_device = previous_;
}

DeviceMemory& device_memory(Device device) {
    if (device == Device::cpu) throw Error("device_memory: the CPU's memory is allocated by tensor/allocator.h");
    require_available(device);
    return *found(device).memory;
}

void synchronize(Device device) {
    if (device != Device::cpu) device_memory(device).synchronize();
}

}  // namespace wavllm
