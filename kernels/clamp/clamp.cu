#include "kernels/clamp/clamp_body.h"
#include "kernels/common/elementwise.cuh"

namespace wavllm::kernels {

namespace {

struct Clamp {
    float low, high;
    __device__ float operator()(float x) const {
        return x < low ? low : x > high ? high : x;  // fmaxf would lose a NaN
    }
};

struct ClampBackward {
    float low, high;
    __device__ float operator()(float dy, float x) const {
        return x > low && x <= high ? dy : 0.0f;
    }
};

void forward(const float* x, float low, float high, float* y, int64_t n) {
    map("clamp", Clamp{low, high}, n, y, x);
}

void backward(const float* dy, const float* x, float low, float high, float* dx, int64_t n) {
    map("clamp backward", ClampBackward{low, high}, n, dx, dy, x);
}

WAVLLM_CUDA_BODY(clamp_body, forward);
WAVLLM_CUDA_BODY(clamp_backward_body, backward);

}  // namespace

}  // namespace wavllm::kernels
