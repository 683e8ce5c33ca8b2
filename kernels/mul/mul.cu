#include "kernels/common/elementwise.cuh"
#include "kernels/mul/mul_body.h"

namespace wavllm::kernels {

namespace {

struct Mul {
    __device__ float operator()(float a, float b) const {
        return a * b;
    }
};

void mul(const float* a, const float* b, float* y, int64_t n) {
    map("mul", Mul{}, n, y, a, b);
}

WAVLLM_CUDA_BODY(mul_body, mul);

}  // namespace

}  // namespace wavllm::kernels
