#pragma once
// A CUDA graph: kernels that were launched once are launched again by one call, some microseconds for all of them instead
// of some for each. Meant for a decoding step, whose hundred small kernels take the CPU longer than the GPU.
//
//     step();                                    // once as usual: memory gets cached, cuBLASLt chooses
//     const Graph graph = Graph::capture(step);  // records; nothing runs
//     for (...) {
//         ids.assign(next);                      // what changes lies in device memory that is written before the launch
//         graph.launch();
//     }
//
// A graph repeats its launches with the same sizes, pointers and numbers. So in a captured step
//   - lengths, positions and ids must be read from device memory by the kernels; what the host computes from them (a grid,
//     a slice of the cache) stays what it was at the capture;
//   - no copy from or to the CPU may stand, nor anything that waits: Tensor::to, mirror() of something new, values(),
//     item(), synchronize(). Each is an Error that says so;
//   - no memory may be asked of the driver: what was not cached before is an Error. Blocks that the step used stay its own
//     until the Graph ends, whoever freed them;
//   - tensors made before must outlive the Graph;
//   - no other thread may launch anything meanwhile: it would become part of the graph.

#include <cstdint>
#include <functional>

#include "kernels/cuda/runtime/call.h"

namespace wavllm::cuda {

/// Whether the compute stream is recording a graph.
bool capturing();
/// Throws Error "WHAT cannot be part of a captured graph ..." if it is.
void expect_no_capture(const char* what);

class Graph {
public:
    Graph() = default;
    /// Throws what `step` throws (the capture is given up), or Error if it did something that a graph cannot hold.
    static Graph capture(const std::function<void()>& step);
    ~Graph();
    Graph(Graph&& other) noexcept;
    Graph& operator=(Graph&& other) noexcept;

    /// Puts all of it into the compute stream.
    void launch() const;

private:
    cudaGraphExec_t exec_ = nullptr;
    uint32_t hold_ = 0;
};

}  // namespace wavllm::cuda
