#include "kernels/common/elementwise.cuh"
#include "kernels/scale/scale_body.h"

namespace wavllm::kernels {

namespace {

struct Scale {
    float s;
    __device__ float operator()(float x) const {
        return x * s;
    }
};

void scale(const float* x, float s, float* y, int64_t n) {
    map("scale", Scale{s}, n, y, x);
}

WAVLLM_CUDA_BODY(scale_body, scale);

}  // namespace

}  // namespace wavllm::kernels
