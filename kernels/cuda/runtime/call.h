#pragma once
// Errors of CUDA. Included by what is compiled with the CUDA toolkit alone (CMake option WAVLLM_CUDA).

#include <cuda_runtime_api.h>

namespace wavllm::cuda {

/// Throws Error: the error's name and text, the call and its place, and what to do about the kinds that come late.
[[noreturn]] void throw_cuda_error(cudaError_t error, const char* call, const char* file, int line);

/// Checks the launch that was just made, and under WAVLLM_CUDA_SYNC=1 waits for it, so that a kernel's own mistake is
/// reported with its name and not by whatever waits next. Throws Error that names kernel, grid, block and shared memory.
/// `name` may be null: then the kernel's own is taken.
void check_launch(const char* name, const void* kernel, dim3 grid, dim3 block, size_t shared_bytes,
                  cudaStream_t stream);

/// Lets a kernel have this much dynamic shared memory in a block. Throws Error naming the kernel and both sizes if the GPU
/// has less: 99 KiB on sm_86 and sm_89, 163 on sm_80, 227 on sm_90.
void allow_shared(const char* name, const void* kernel, size_t bytes);

}  // namespace wavllm::cuda

#define WAVLLM_CUDA_CALL(...)                                                                      \
    do {                                                                                           \
        const cudaError_t wavllm_cuda_error = (__VA_ARGS__);                                       \
        if (wavllm_cuda_error != cudaSuccess)                                                      \
            ::wavllm::cuda::throw_cuda_error(wavllm_cuda_error, #__VA_ARGS__, __FILE__, __LINE__); \
    } while (0)
