#pragma once
// How long the GPU works, between two marks in its compute stream. Part of every build, and includes
// nothing of CUDA; where there is no CUDA, making one throws UsageError.

#include <cstddef>
#include <memory>

namespace wavllm::cuda {

class Timer {
public:
    Timer();
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void start();
    /// Waits for the work that the stream was given since start(); seconds that it took on the GPU. What the host took to
    /// give it counts only where the GPU waited for it.
    double stop();

private:
    struct Events;
    std::unique_ptr<Events> events_;
};

/// What the GPU is, for reports. properties() throws UsageError where there is none.
struct Properties {
    char name[256] = {};
    int major = 0, minor = 0;  ///< compute capability
    int multiprocessors = 0;
    size_t memory_bytes = 0, l2_bytes = 0;
    double memory_bytes_per_second = 0;  ///< as the driver states it: clock, width, two transfers a clock; 0: unknown
    int driver_version = 0, runtime_version = 0;  ///< 1000 * major + 10 * minor
};
Properties properties();

}  // namespace wavllm::cuda
