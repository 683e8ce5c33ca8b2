#pragma once
// How the program reaches a .cu file. The same source is compiled up to three times (for a GPU, for the emulator, for the
// emulator with every load and store watched); each object puts its entry point into the CudaBody that a header names:
//
//   // kernels/square/square_body.h
//   inline CudaBody<void(const float* x, float* y, int n, cudaStream_t stream)> square_body{"square"};
//   // kernels/square/square.cu
//   namespace { void square(const float* x, ...) { launch(...); } WAVLLM_CUDA_BODY(square_body, square); }
//   // the caller
//   square_body(Build::simt_checked)(x, y, n, nullptr);

#include <cstdint>

namespace wavllm {

/// Which compilation of a .cu file: for a GPU, for the emulator at full speed, for the emulator with all its checks.
enum class Build : uint8_t { gpu, simt, simt_checked };

namespace simt {
[[noreturn]] void throw_no_body(const char* name, Build build);
}

template <class Signature>
class CudaBody {
public:
    constexpr explicit CudaBody(const char* name) : name_(name) {}
    /// The entry point of one build. Throws UsageError naming the body if the program was linked without it.
    Signature* operator()(Build build) const {
        Signature* f = bodies_[static_cast<int>(build)];
        if (f == nullptr) simt::throw_no_body(name_, build);
        return f;
    }
    bool has(Build build) const {
        return bodies_[static_cast<int>(build)] != nullptr;
    }
    void set(Build build, Signature* f) {
        bodies_[static_cast<int>(build)] = f;
    }

private:
    const char* name_;
    Signature* bodies_[3] = {};
};

// Which build this object is. A macro and not a constant, so that it cannot become part of what objects share.
#if defined(__CUDACC__)
#define WAVLLM_THIS_BUILD ::wavllm::Build::gpu
#elif defined(__SANITIZE_THREAD__)
#define WAVLLM_THIS_BUILD ::wavllm::Build::simt_checked
#else
#define WAVLLM_THIS_BUILD ::wavllm::Build::simt
#endif

namespace simt {
template <class Signature>
struct Registration {
    Registration(CudaBody<Signature>& body, Build build, Signature* f) {
        body.set(build, f);
    }
};
}  // namespace simt

}  // namespace wavllm

/// Inside an unnamed namespace of a .cu file: `function` is this build's entry point of `body`.
#define WAVLLM_CUDA_BODY(body, function) \
    const ::wavllm::simt::Registration register_##function(body, WAVLLM_THIS_BUILD, &function)
