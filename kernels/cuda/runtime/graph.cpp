// Graphs (tensor/graph.h) of the device `cuda`: the compute stream records.

#include "tensor/graph.h"

#include "kernels/cuda/runtime/call.h"
#include "kernels/cuda/runtime/gpu_memory.h"
#include "kernels/cuda/runtime/streams.h"

namespace wavllm::cuda {

namespace {

class CudaGraph final : public RecordedStep {
public:
    explicit CudaGraph(const std::function<void()>& step) : hold_(gpu_allocator().begin_hold()) {
        cudaGraph_t graph = nullptr;
        try {
            WAVLLM_CUDA_CALL(cudaStreamBeginCapture(compute_stream(), cudaStreamCaptureModeThreadLocal));
            step();
            WAVLLM_CUDA_CALL(cudaStreamEndCapture(compute_stream(), &graph));
            WAVLLM_CUDA_CALL(cudaGraphInstantiate(&exec_, graph, 0));
            // The first launch would do this otherwise, in the middle of what somebody times.
            WAVLLM_CUDA_CALL(cudaGraphUpload(exec_, compute_stream()));
        } catch (...) {
            cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
            cudaStreamIsCapturing(compute_stream(), &status);
            if (status != cudaStreamCaptureStatusNone) cudaStreamEndCapture(compute_stream(), &graph);
            if (graph) cudaGraphDestroy(graph);
            cudaGetLastError();
            gpu_allocator().end_hold();
            release();
            throw;
        }
        cudaGraphDestroy(graph);
        gpu_allocator().end_hold();
    }
    ~CudaGraph() override {
        release();
    }
    CudaGraph(const CudaGraph&) = delete;
    CudaGraph& operator=(const CudaGraph&) = delete;

    void launch() override {
        WAVLLM_CUDA_CALL(cudaGraphLaunch(exec_, compute_stream()));
    }

private:
    void release() {
        if (exec_) {
            cudaStreamSynchronize(compute_stream());  // it may still run
            cudaGraphExecDestroy(exec_);
        }
        gpu_allocator().release_hold(hold_);
    }

    uint32_t hold_ = 0;
    cudaGraphExec_t exec_ = nullptr;
};

[[maybe_unused]] const bool registered =
    (register_graphs(Device::cuda,
                     [](const std::function<void()>& step) -> std::unique_ptr<RecordedStep> {
                         return std::make_unique<CudaGraph>(step);
                     }),
     true);

}  // namespace

}  // namespace wavllm::cuda
