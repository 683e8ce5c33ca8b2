#pragma once
// A graph: what a step launched on a device is recorded once and launched again by one call, some microseconds for all of
// it instead of some for each kernel. Meant for a decoding step, whose hundred small kernels take the CPU longer than the
// GPU. On `cuda` it is a CUDA graph; `sim` keeps a list of launches, so that the rules below are tested without a GPU.
//
//     step();                                                   // once as usual: memory gets cached, cuBLASLt chooses
//     const Graph graph = Graph::capture(Device::cuda, step);   // records; nothing runs
//     for (...) {
//         ids.assign(next);                                     // what changes lies in device memory, written before
//         graph.launch();
//     }
//
// A graph repeats its launches with the same sizes, pointers and numbers. So in a captured step
//   - lengths, positions and ids must be read from device memory by the kernels; what the host computes from them (a grid,
//     a slice of the cache) stays what it was at the capture. Ops that would plan with them on the CPU throw;
//   - no copy from or to the CPU may stand, nor anything that waits: Tensor::to, mirror() of something new, values(),
//     item(), synchronize(). Each is an Error that says so;
//   - no memory may be asked for that was not used and freed before: an Error. Blocks that the step used stay its own until
//     the Graph ends, whoever freed them, so results that a caller keeps are overwritten by the next launch;
//   - tensors made before must outlive the Graph;
//   - no other thread may launch anything on the device meanwhile: it would become part of the graph.

#include <functional>
#include <memory>
#include <string_view>

#include "tensor/device.h"

namespace wavllm {

/// What a device makes of a captured step.
class RecordedStep {
public:
    virtual ~RecordedStep() = default;
    virtual void launch() = 0;
};

class Graph {
public:
    Graph() = default;
    /// Throws what `step` throws (the capture is given up), Error if it did something that a graph cannot hold or another
    /// capture is under way, and UsageError if the device has no graphs (the CPU).
    static Graph capture(Device device, const std::function<void()>& step);
    explicit operator bool() const {
        return recorded_ != nullptr;
    }
    /// In the order of the device's other work. Throws Error for an empty graph.
    void launch() const;

private:
    std::unique_ptr<RecordedStep> recorded_;
};

/// Whether a graph is being captured.
bool capturing();
/// Throws Error "WHAT cannot be part of a captured graph ..." if one is.
void expect_no_capture(std::string_view what);

/// For the floors above: how a device records.
using RecordStep = std::unique_ptr<RecordedStep> (*)(const std::function<void()>& step);
void register_graphs(Device device, RecordStep record);

}  // namespace wavllm
