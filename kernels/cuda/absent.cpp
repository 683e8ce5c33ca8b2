// In place of kernels/cuda/runtime/ in a build without CUDA: the device says so, and nothing else can be reached.

#include "kernels/cuda/timer.h"
#include "tensor/device.h"

namespace wavllm {

namespace {

[[maybe_unused]] const bool registered =
    (register_device(Device::cuda, nullptr,
                     "this program was built without CUDA (./dev build cuda builds it, with nvcc)"),
     true);

}  // namespace

namespace cuda {

struct Timer::Events {};

Timer::Timer() {
    require_available(Device::cuda);
}
Timer::~Timer() = default;
void Timer::start() {}
double Timer::stop() {
    return 0;
}

Properties properties() {
    require_available(Device::cuda);
    return {};
}

}  // namespace cuda

}  // namespace wavllm
