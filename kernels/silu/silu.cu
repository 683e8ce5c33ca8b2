#include "kernels/common/elementwise.cuh"
#include "kernels/common/math.cuh"
#include "kernels/silu/silu_body.h"

namespace wavllm::kernels {

namespace {

struct Silu {
    __device__ float operator()(float x) const {
        return silu(x);
    }
};

struct SiluBackward {
    __device__ float operator()(float dy, float x) const {
        return dy * silu_slope(x, sigmoid(x));
    }
};

void forward(const float* x, float* y, int64_t n) {
    map("silu", Silu{}, n, y, x);
}

void backward(const float* dy, const float* x, float* dx, int64_t n) {
    map("silu backward", SiluBackward{}, n, dx, dy, x);
}

WAVLLM_CUDA_BODY(silu_body, forward);
WAVLLM_CUDA_BODY(silu_backward_body, backward);

}  // namespace

}  // namespace wavllm::kernels
