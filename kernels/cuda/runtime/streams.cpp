#include "kernels/cuda/runtime/streams.h"

namespace wavllm::cuda {

namespace {

cudaStream_t make_stream() {
    cudaStream_t stream = nullptr;
    WAVLLM_CUDA_CALL(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return stream;
}

}  // namespace

// Never destroyed: the driver may be gone before static objects are.
cudaStream_t compute_stream() {
    static cudaStream_t stream = make_stream();
    return stream;
}

cudaStream_t copy_stream() {
    static cudaStream_t stream = make_stream();
    return stream;
}

Event::Event(bool timed) {
    WAVLLM_CUDA_CALL(cudaEventCreateWithFlags(&event_, timed ? cudaEventDefault : cudaEventDisableTiming));
}

Event::~Event() {
    cudaEventDestroy(event_);
}

void Event::record(cudaStream_t stream) {
    WAVLLM_CUDA_CALL(cudaEventRecord(event_, stream));
}

void Event::hold_back(cudaStream_t stream) const {
    WAVLLM_CUDA_CALL(cudaStreamWaitEvent(stream, event_, 0));
}

bool Event::passed() const {
    const cudaError_t state = cudaEventQuery(event_);
    if (state == cudaErrorNotReady) {
        cudaGetLastError();  // it stays behind otherwise, and the next launch would be blamed
        return false;
    }
    WAVLLM_CUDA_CALL(state);
    return true;
}

void Event::wait() const {
    WAVLLM_CUDA_CALL(cudaEventSynchronize(event_));
}

float Event::milliseconds_since(const Event& earlier) const {
    float ms = 0;
    WAVLLM_CUDA_CALL(cudaEventElapsedTime(&ms, earlier.event_, event_));
    return ms;
}

}  // namespace wavllm::cuda
