#include "kernels/common/on_device.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "tensor/error.h"

namespace wavllm::kernels {

namespace {

bool asked_for_checks() {
    const char* value = std::getenv("WAVLLM_SIM");
    const std::string_view text = value ? value : "fast";
    if (text != "fast" && text != "checked") throw UsageError("WAVLLM_SIM is \"{}\"; expected fast or checked", text);
    return text == "checked";
}

std::atomic<bool>& checked() {
    static std::atomic<bool> value = asked_for_checks();
    return value;
}

}  // namespace

bool sim_checked() {
    return checked();
}

void set_sim_checked(bool on) {
    checked() = on;
}

Build build_for(Device device) {
    if (device == Device::cpu) throw Error("a CUDA body was asked to work on tensors of the cpu");
    if (device == Device::cuda) return Build::gpu;
    return sim_checked() ? Build::simt_checked : Build::simt;
}

}  // namespace wavllm::kernels
