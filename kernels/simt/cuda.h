#pragma once
// The one header of a .cu file. Under nvcc it is CUDA; under the host compiler it is the emulator of docs/simt.md, which
// runs the same source on the CPU and watches it. What differs from plain CUDA:
//
//   WAVLLM_SHARED(float, tile, [32][33]);       a static shared variable, 16-byte aligned: float tile[32][33]
//   WAVLLM_SHARED(int, count);                  ... or a single one
//   WAVLLM_DYNAMIC_SHARED(float, buffer);       float* buffer: the launch's shared_bytes, 16-byte aligned
//   launch(kernel<T>, {.grid = g, .block = b, .shared_bytes = s, .stream = stream}, x, y, n);
//   named_barrier_sync(id, threads);            bar.sync id, threads
//   mma_m16n8k16, ldmatrix, cp_async            kernels/simt/tensor_core.h
//
// A .cu file is compiled for the host twice (plain, and seeing every load and store), so all it defines stands in an
// unnamed namespace; the rest of the program reaches it through a CudaBody (kernels/simt/body.h). A header of device
// functions defines them `static`, as macros or in an unnamed namespace, for the same reason.

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "kernels/cuda/runtime/streams.h"

namespace wavllm {

struct LaunchConfig {
    dim3 grid, block;
    size_t shared_bytes = 0;
    cudaStream_t stream = nullptr;
    const char* name = nullptr;
    double flops = 0;
};

/// In the order of the compute stream, unless the launch names another. Throws Error that names the kernel.
template <class... P, class... A>
static void launch(void (*kernel)(P...), const LaunchConfig& config, A&&... args) {
    const void* address = reinterpret_cast<const void*>(kernel);
    // More than 48 KiB must be asked for. sm_86 and sm_89 have 99, which the largest tiles of products exceed: an error there,
    // and it names the kernel.
    constexpr size_t kUnasked = 48 * 1024;
    if (config.shared_bytes > kUnasked) cuda::allow_shared(config.name, address, config.shared_bytes);
    const cudaStream_t stream = config.stream != nullptr ? config.stream : cuda::compute_stream();
    kernel<<<config.grid, config.block, config.shared_bytes, stream>>>(static_cast<P>(args)...);
    cuda::check_launch(config.name, address, config.grid, config.block, config.shared_bytes, stream);
}

}  // namespace wavllm

#define WAVLLM_SHARED(type, name, ...) __shared__ __align__(16) type name __VA_ARGS__
// CUDA wants one type for all uses of one external array, hence the bytes.
#define WAVLLM_DYNAMIC_SHARED(type, name)                                \
    extern __shared__ __align__(16) unsigned char wavllm_shared_bytes[]; \
    type* name = reinterpret_cast<type*>(wavllm_shared_bytes)

#else

#include <cassert>

#include "kernels/simt/host/intrinsics.h"
#include "kernels/simt/host/launch.h"
#include "kernels/simt/host/math.h"
#include "kernels/simt/host/numbers.h"

#endif

#include "kernels/simt/body.h"
#include "kernels/simt/tensor_core.h"
