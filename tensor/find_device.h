#pragma once
// For devices that take a while to look for.

#include <string>

#include "tensor/device.h"

namespace wavllm {

/// The memory of a device, or null and what this machine lacks.
using FindDevice = DeviceMemory* (*)(std::string& why_not);
/// Like register_device of device.h, but `find` is called, once, when the device is first asked for: most runs want no GPU,
/// and finding one takes a tenth of a second.
void register_device(Device device, FindDevice find);

}  // namespace wavllm
