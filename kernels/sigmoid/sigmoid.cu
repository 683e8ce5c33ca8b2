#include "kernels/common/elementwise.cuh"
#include "kernels/common/math.cuh"
#include "kernels/sigmoid/sigmoid_body.h"

namespace wavllm::kernels {

namespace {

struct Sigmoid {
    __device__ float operator()(float x) const {
        return sigmoid(x);
    }
};

struct SigmoidBackward {
    __device__ float operator()(float dy, float x) const {
        const float s = sigmoid(x);
        return dy * (s * (1.0f - s));
    }
};

void forward(const float* x, float* y, int64_t n) {
    map("sigmoid", Sigmoid{}, n, y, x);
}

void backward(const float* dy, const float* x, float* dx, int64_t n) {
    map("sigmoid backward", SigmoidBackward{}, n, dx, dy, x);
}

WAVLLM_CUDA_BODY(sigmoid_body, forward);
WAVLLM_CUDA_BODY(sigmoid_backward_body, backward);

}  // namespace

}  // namespace wavllm::kernels
