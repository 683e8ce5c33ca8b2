// The device `cuda` (tensor/device.h): one GPU, found when the device is first asked for.

#include <array>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/cuda/runtime/gpu_memory.h"
#include "kernels/cuda/runtime/streams.h"
#include "kernels/cuda/staging_ring.h"
#include "tensor/error.h"
#include "tensor/find_device.h"
#include "tensor/graph.h"

namespace wavllm {

namespace cuda {

namespace {

class Driver final : public RawMemory {
public:
    void* allocate(size_t bytes) override {
        void* pointer = nullptr;
        const cudaError_t error = cudaMalloc(&pointer, bytes);
        if (error == cudaErrorMemoryAllocation) {
            cudaGetLastError();  // expected: the allocator gives back what it can, or says what is missing
            return nullptr;
        }
        WAVLLM_CUDA_CALL(error);
        return pointer;
    }
    void free(void* pointer) noexcept override {
        cudaFree(pointer);
    }
    State state() override {
        State s;
        if (cudaMemGetInfo(&s.free, &s.total) != cudaSuccess) cudaGetLastError();
        return s;
    }
};

/// Events of the compute stream, used again and again.
class ComputeFences final : public Fences {
public:
    void* record() override {
        if (spare_.empty()) spare_.push_back(new Event);
        Event* event = spare_.back();
        spare_.pop_back();
        event->record(compute_stream());
        return event;
    }
    bool passed(void* fence) override {
        return static_cast<Event*>(fence)->passed();
    }
    void wait(void* fence) override {
        static_cast<Event*>(fence)->wait();
    }
    void release(void* fence) noexcept override {
        spare_.push_back(static_cast<Event*>(fence));
    }

private:
    std::vector<Event*> spare_;
};

char* pinned(size_t bytes) {
    void* memory = nullptr;
    WAVLLM_CUDA_CALL(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault));
    return static_cast<char*>(memory);
}

constexpr size_t kPiece = size_t{4} << 20, kRing = 8 * kPiece;

/// Copies between pageable memory and the GPU, through pinned memory: while the GPU fetches one piece, the CPU fills the
/// next.
class Staging {
public:
    /// Returns when `host` has been read; the GPU gets it in the order of the compute stream.
    void in(void* device, const void* host, size_t bytes) {
        const std::lock_guard lock(in_mutex_);
        for (size_t at = 0; at < bytes; at += kPiece) {
            const size_t n = std::min(kPiece, bytes - at);
            char* piece = ring_.take(n);
            std::memcpy(piece, static_cast<const char*>(host) + at, n);
            WAVLLM_CUDA_CALL(
                cudaMemcpyAsync(static_cast<char*>(device) + at, piece, n, cudaMemcpyHostToDevice, compute_stream()));
            ring_.given_away();
        }
    }
    /// Returns when `host` holds what the compute stream's work so far leaves there.
    void out(void* host, const void* device, size_t bytes) {
        const std::lock_guard lock(out_mutex_);
        before_.record(compute_stream());
        before_.hold_back(copy_stream());
        const size_t pieces = (bytes + kPiece - 1) / kPiece;
        for (size_t i = 0; i <= pieces; ++i) {  // piece i sets out while the CPU takes piece i - 1
            if (i < pieces) {
                const size_t at = i * kPiece;
                WAVLLM_CUDA_CALL(cudaMemcpyAsync(out_[i % 2], static_cast<const char*>(device) + at,
                                                 std::min(kPiece, bytes - at), cudaMemcpyDeviceToHost, copy_stream()));
                arrived_[i % 2].record(copy_stream());
            }
            if (i == 0) continue;
            const size_t at = (i - 1) * kPiece;
            arrived_[(i - 1) % 2].wait();
            std::memcpy(static_cast<char*>(host) + at, out_[(i - 1) % 2], std::min(kPiece, bytes - at));
        }
    }

private:
    std::mutex in_mutex_, out_mutex_;
    ComputeFences fences_;
    StagingRing ring_{pinned(kRing), kRing, fences_};
    std::array<char*, 2> out_{pinned(kPiece), pinned(kPiece)};
    Event before_;
    std::array<Event, 2> arrived_;
};

// Never destroyed, like the streams.
Staging& staging() {
    static auto* s = new Staging;
    return *s;
}

class GpuMemory final : public DeviceMemory {
public:
    void* allocate(size_t bytes) override {
        return gpu_allocator().allocate(bytes);
    }
    void free(void* pointer) noexcept override {
        gpu_allocator().free(pointer);
    }
    void copy_in(void* device, const void* host, size_t bytes) override {
        if (bytes == 0) return;
        expect_no_capture("a copy from the CPU");
        staging().in(device, host, bytes);
    }
    void copy_out(void* host, const void* device, size_t bytes) override {
        if (bytes == 0) return;
        expect_no_capture("a copy to the CPU");
        staging().out(host, device, bytes);
    }
    void copy(void* to, const void* from, size_t bytes) override {
        if (bytes > 0) WAVLLM_CUDA_CALL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, compute_stream()));
    }
    void zero(void* device, size_t bytes) override {
        if (bytes > 0) WAVLLM_CUDA_CALL(cudaMemsetAsync(device, 0, bytes, compute_stream()));
    }
    void synchronize() override {
        expect_no_capture("waiting for the GPU");
        WAVLLM_CUDA_CALL(cudaStreamSynchronize(compute_stream()));
        WAVLLM_CUDA_CALL(cudaStreamSynchronize(copy_stream()));
    }
};

std::string version(int v) {
    return fmt::format("{}.{}", v / 1000, v % 1000 / 10);
}

/// The GPU, or null and why not.
DeviceMemory* find_gpu(std::string& why_not) {
    int runtime = 0, driver = 0, devices = 0;
    cudaRuntimeGetVersion(&runtime);
    const cudaError_t error = cudaGetDeviceCount(&devices);
    if (error != cudaSuccess || devices == 0) {
        if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
        cudaGetLastError();
        why_not =
            driver == 0
                ? fmt::format("no NVIDIA driver was found (libcuda.so.1, for CUDA {}); nvidia-smi should list a GPU",
                              version(runtime))
                : fmt::format(
                      "no GPU was found ({}: {}; driver for CUDA {}, program for {}); nvidia-smi should list "
                      "one, and CUDA_VISIBLE_DEVICES must not hide it",
                      cudaGetErrorName(error), cudaGetErrorString(error), version(driver), version(runtime));
        return nullptr;
    }
    cudaDeviceProp gpu{};
    if (const cudaError_t asked = cudaGetDeviceProperties(&gpu, 0); asked != cudaSuccess) {
        cudaGetLastError();
        why_not = fmt::format("the GPU does not answer: {}", cudaGetErrorString(asked));
        return nullptr;
    }
    if (gpu.major < 8) {
        why_not =
            fmt::format("{} has compute capability {}.{}, and the kernels need 8.0", gpu.name, gpu.major, gpu.minor);
        return nullptr;
    }
    static GpuMemory memory;
    return &memory;
}

[[maybe_unused]] const bool registered = (register_device(Device::cuda, find_gpu), true);

}  // namespace

CachingAllocator& gpu_allocator() {
    static auto* allocator = new CachingAllocator(*new Driver);
    return *allocator;
}

}  // namespace cuda

}  // namespace wavllm
