#include "kernels/cuda/timer.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/runtime/streams.h"
#include "tensor/device.h"

namespace wavllm::cuda {

struct Timer::Events {
    Event begin{true}, end{true};
};

Timer::Timer() {
    require_available(Device::cuda);
    events_ = std::make_unique<Events>();
}
Timer::~Timer() = default;

void Timer::start() {
    events_->begin.record(compute_stream());
}

double Timer::stop() {
    events_->end.record(compute_stream());
    events_->end.wait();
    return static_cast<double>(events_->end.milliseconds_since(events_->begin)) * 1e-3;
}

Properties properties() {
    require_available(Device::cuda);
    Properties p;
    int device = 0;
    WAVLLM_CUDA_CALL(cudaGetDevice(&device));
    cudaDeviceProp d{};
    WAVLLM_CUDA_CALL(cudaGetDeviceProperties(&d, device));
    std::memcpy(p.name, d.name, std::min(sizeof p.name, sizeof d.name));
    p.major = d.major;
    p.minor = d.minor;
    p.multiprocessors = d.multiProcessorCount;
    p.memory_bytes = d.totalGlobalMem;
    p.l2_bytes = static_cast<size_t>(std::max(0, d.l2CacheSize));
    int kilohertz = 0;
    if (cudaDeviceGetAttribute(&kilohertz, cudaDevAttrMemoryClockRate, device) == cudaSuccess)
        p.memory_bytes_per_second = 2e3 * kilohertz * d.memoryBusWidth / 8;
    else
        cudaGetLastError();
    WAVLLM_CUDA_CALL(cudaDriverGetVersion(&p.driver_version));
    WAVLLM_CUDA_CALL(cudaRuntimeGetVersion(&p.runtime_version));
    return p;
}

}  // namespace wavllm::cuda
