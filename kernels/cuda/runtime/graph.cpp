#include "kernels/cuda/runtime/graph.h"

#include <atomic>
#include <utility>

#include "kernels/cuda/runtime/gpu_memory.h"
#include "kernels/cuda/runtime/streams.h"
#include "tensor/error.h"

namespace wavllm::cuda {

namespace {

std::atomic<bool> now_capturing = false;

}  // namespace

bool capturing() {
    return now_capturing;
}

void expect_no_capture(const char* what) {
    if (capturing())
        throw Error(
            "{} cannot be part of a captured graph: it would not happen again when the graph runs; do it before the "
            "capture (kernels/cuda/runtime/graph.h)",
            what);
}

Graph Graph::capture(const std::function<void()>& step) {
    Graph result;
    result.hold_ = gpu_allocator().begin_hold();
    const auto end = [] {
        now_capturing = false;
        gpu_allocator().end_hold();
    };
    cudaGraph_t graph = nullptr;
    try {
        WAVLLM_CUDA_CALL(cudaStreamBeginCapture(compute_stream(), cudaStreamCaptureModeThreadLocal));
        now_capturing = true;
        step();
        WAVLLM_CUDA_CALL(cudaStreamEndCapture(compute_stream(), &graph));
        end();
        WAVLLM_CUDA_CALL(cudaGraphInstantiate(&result.exec_, graph, 0));
        WAVLLM_CUDA_CALL(cudaGraphDestroy(graph));
        // The first launch would do this otherwise, in the middle of what somebody times.
        WAVLLM_CUDA_CALL(cudaGraphUpload(result.exec_, compute_stream()));
    } catch (...) {
        if (now_capturing) {
            cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
            cudaStreamIsCapturing(compute_stream(), &status);
            if (status != cudaStreamCaptureStatusNone) cudaStreamEndCapture(compute_stream(), &graph);
            end();
        } else {
            gpu_allocator().end_hold();
        }
        if (graph) cudaGraphDestroy(graph);
        cudaGetLastError();
        throw;
    }
    return result;
}

Graph::~Graph() {
    if (exec_) {
        cudaStreamSynchronize(compute_stream());  // it may still run
        cudaGraphExecDestroy(exec_);
    }
    if (hold_) gpu_allocator().release_hold(hold_);
}

Graph::Graph(Graph&& other) noexcept
    : exec_(std::exchange(other.exec_, nullptr)), hold_(std::exchange(other.hold_, 0)) {}

Graph& Graph::operator=(Graph&& other) noexcept {
    std::swap(exec_, other.exec_);
    std::swap(hold_, other.hold_);
    return *this;
}

void Graph::launch() const {
    if (!exec_) throw Error("an empty graph was launched: Graph::capture makes one");
    WAVLLM_CUDA_CALL(cudaGraphLaunch(exec_, compute_stream()));
}

}  // namespace wavllm::cuda
