#include "kernels/cuda/runtime/call.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "tensor/error.h"

namespace wavllm::cuda {

namespace {

/// From the repository's root on, whatever path the compiler was given.
std::string_view short_path(std::string_view file) {
    const size_t at = file.rfind("/kernels/");
    return at == std::string_view::npos ? file : file.substr(at + 1);
}

/// Errors that a kernel makes are reported by a later call that has nothing to do with them.
std::string_view advice(cudaError_t error) {
    switch (error) {
        case cudaErrorIllegalAddress:
        case cudaErrorMisalignedAddress:
        case cudaErrorIllegalInstruction:
        case cudaErrorInvalidAddressSpace:
        case cudaErrorInvalidPc:
        case cudaErrorHardwareStackError:
        case cudaErrorAssert:
        case cudaErrorLaunchFailure:
        case cudaErrorLaunchTimeout:
            return "; an earlier kernel failed: WAVLLM_CUDA_SYNC=1 names it, compute-sanitizer its line, and --device "
                   "sim "
                   "with WAVLLM_SIM=checked may find it without a GPU";
        case cudaErrorNoKernelImageForDevice: return "; this program has kernels for compute capability 8.0 and later";
        case cudaErrorStreamCaptureUnsupported:
        case cudaErrorStreamCaptureInvalidated:
        case cudaErrorStreamCaptureImplicit: return "; this call cannot be part of a captured graph (tensor/graph.h)";
        default: return "";
    }
}

std::string kernel_name(const void* kernel) {
#if CUDART_VERSION >= 12030
    const char* mangled = nullptr;
    if (cudaFuncGetName(&mangled, kernel) == cudaSuccess && mangled) {
        int status = 0;
        const std::unique_ptr<char, decltype(&std::free)> plain(abi::__cxa_demangle(mangled, nullptr, nullptr, &status),
                                                                &std::free);
        return plain ? plain.get() : mangled;
    }
    cudaGetLastError();  // not being able to name it is no error to report
#endif
    return "a kernel without a name";
}

bool wait_for_each_launch() {
    static const bool on = [] {
        const char* value = std::getenv("WAVLLM_CUDA_SYNC");
        const std::string_view text = value ? value : "0";
        if (text != "0" && text != "1") throw UsageError("WAVLLM_CUDA_SYNC is \"{}\"; expected 0 or 1", text);
        return text == "1";
    }();
    return on;
}

}  // namespace

void throw_cuda_error(cudaError_t error, const char* call, const char* file, int line) {
    throw Error("{}: {} in {} ({}:{}){}", cudaGetErrorName(error), cudaGetErrorString(error), call, short_path(file),
                line, advice(error));
}

void check_launch(const char* name, const void* kernel, dim3 grid, dim3 block, size_t shared_bytes,
                  cudaStream_t stream) {
    cudaError_t error = cudaGetLastError();
    if (error == cudaSuccess && wait_for_each_launch()) {
        cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
        if (cudaStreamIsCapturing(stream, &capturing) == cudaSuccess && capturing == cudaStreamCaptureStatusNone)
            error = cudaStreamSynchronize(stream);
    }
    if (error == cudaSuccess) return;
    throw Error(
        "kernel {} on a grid of ({},{},{}) blocks of ({},{},{}) threads with {} bytes of dynamic shared memory: {}: "
        "{}{}",
        name ? name : kernel_name(kernel), grid.x, grid.y, grid.z, block.x, block.y, block.z, shared_bytes,
        cudaGetErrorName(error), cudaGetErrorString(error), wait_for_each_launch() ? "" : advice(error));
}

void allow_shared(const char* name, const void* kernel, size_t bytes) {
    int device = 0, most = 0;
    WAVLLM_CUDA_CALL(cudaGetDevice(&device));
    WAVLLM_CUDA_CALL(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    if (bytes > static_cast<size_t>(most))
        throw Error(
            "kernel {} needs {} bytes of shared memory for a block, but this GPU has {}; use one with more (sm_80 or "
            "sm_90), products in another dtype, or --device cpu",
            name ? name : kernel_name(kernel), bytes, most);
    WAVLLM_CUDA_CALL(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
}

}  // namespace wavllm::cuda
