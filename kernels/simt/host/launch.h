#pragma once
// Shared variables and launches for the host compiler; cuda.h has the same for nvcc.

#include <tuple>
#include <utility>

#include "kernels/simt/body.h"
#include "kernels/simt/host/device_api.h"

namespace wavllm::simt {

template <class T>
SIMT_MEMBER T& shared(const void* key, const char* name) {
    return *static_cast<T*>(shared_variable(key, name, sizeof(T)));
}

/// A launch without its types.
struct Call {
    const void* kernel = nullptr;  ///< for its name
    void (*one_thread)(const void* call) = nullptr;
    const void* arguments = nullptr;
    size_t bytes = 0;
};
struct LaunchShape {
    dim3 grid, block;
    size_t shared_bytes = 0;
    const char* name = nullptr;
    double flops = 0;
    bool checked = false;
};
/// Runs all blocks; throws KernelError for what a kernel did and UsageError for a shape that no GPU takes.
void run(const LaunchShape& shape, const Call& call);

template <class... P>
struct BoundCall {
    void (*kernel)(P...);
    std::tuple<P...> arguments;
    static void one_thread(const void* call) {
        const auto& self = *static_cast<const BoundCall*>(call);
        std::apply(self.kernel, self.arguments);
    }
};

}  // namespace wavllm::simt

namespace wavllm {

struct LaunchConfig {
    dim3 grid, block;
    size_t shared_bytes = 0;  ///< of WAVLLM_DYNAMIC_SHARED
    cudaStream_t stream = nullptr;
    const char* name = nullptr;  ///< for errors and counters; by default the kernel's own
    double flops = 0;            ///< of the whole launch, for the counters (mma counts its own)
};

/// Runs kernel(args...) on every thread of the grid. On the emulator it has run when this returns.
/// (static: the two builds of a .cu file must not share one instance, since it says which build it is.)
template <class... P, class... A>
static void launch(void (*kernel)(P...), const LaunchConfig& config, A&&... args) {
    static_assert(sizeof(std::tuple<P...>) <= 4096, "a kernel takes at most 4096 bytes of arguments");
    const simt::BoundCall<P...> bound{kernel, {std::forward<A>(args)...}};
    simt::run({config.grid, config.block, config.shared_bytes, config.name, config.flops,
               WAVLLM_THIS_BUILD == Build::simt_checked},
              {reinterpret_cast<const void*>(kernel), &simt::BoundCall<P...>::one_thread, &bound, sizeof bound});
}

}  // namespace wavllm

#define WAVLLM_SHARED(type, name, ...)                     \
    auto& name = ::wavllm::simt::shared<type __VA_ARGS__>( \
        [] {                                               \
            static const char key = 0;                     \
            return static_cast<const void*>(&key);         \
        }(),                                               \
        #name)
#define WAVLLM_DYNAMIC_SHARED(type, name) type* name = static_cast<type*>(::wavllm::simt::dynamic_shared(alignof(type)))
