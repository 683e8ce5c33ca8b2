#pragma once
// The streams and events of the one GPU that this process uses: the first that CUDA_VISIBLE_DEVICES leaves visible.
//
// All kernels, and all copies but those back to the CPU, are in the order of the compute stream. That is what makes memory
// reusable at once (caching_allocator.h), and why no op needs an event. The copy stream brings results to the CPU: it waits
// for what the compute stream was given before, while work that other threads give to the compute stream goes on.
// Neither waits for CUDA's default stream, which nothing here uses.

#include "kernels/cuda/runtime/call.h"

namespace wavllm::cuda {

cudaStream_t compute_stream();
cudaStream_t copy_stream();

/// A mark in a stream.
class Event {
public:
    explicit Event(bool timed = false);
    ~Event();
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    void record(cudaStream_t stream);
    /// What `stream` is given from now on comes after the mark. The host does not wait.
    void hold_back(cudaStream_t stream) const;
    bool passed() const;
    /// The host waits.
    void wait() const;
    /// Milliseconds from another timed mark to this one; both must be passed.
    float milliseconds_since(const Event& earlier) const;

private:
    cudaEvent_t event_ = nullptr;
};

}  // namespace wavllm::cuda
