#include "kernels/common/elementwise.cuh"
#include "kernels/common/math.cuh"
#include "kernels/gelu/gelu_body.h"

namespace wavllm::kernels {

namespace {

struct Gelu {
    __device__ float operator()(float x) const {
        return gelu(x);
    }
};

struct GeluBackward {
    __device__ float operator()(float dy, float x) const {
        return dy * gelu_slope(x);
    }
};

void forward(const float* x, float* y, int64_t n) {
    map("gelu", Gelu{}, n, y, x);
}

void backward(const float* dy, const float* x, float* dx, int64_t n) {
    map("gelu backward", GeluBackward{}, n, dx, dy, x);
}

WAVLLM_CUDA_BODY(gelu_body, forward);
WAVLLM_CUDA_BODY(gelu_backward_body, backward);

}  // namespace

}  // namespace wavllm::kernels
