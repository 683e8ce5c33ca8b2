#include "kernels/common/chunk_sums.cuh"
#include "kernels/scalar_mul/scalar_mul_body.h"

namespace wavllm::kernels {

namespace {

struct ScalarMul {
    const float* s;  // stays on the device: the host need not wait for it
    __device__ float operator()(float x) const {
        return x * *s;
    }
};

struct Product {
    using Sum = float;
    const float *dy, *x;
    template <int V>
    __device__ float add(float sum, unsigned, int64_t i) const {
        const auto a = Floats<V>::load(dy + i), b = Floats<V>::load(x + i);
        for (int k = 0; k < V; ++k) sum = fmaf(a.v[k], b.v[k], sum);
        return sum;
    }
};

__global__ void add_total_kernel(const double* chunks, float* ds, int64_t count) {
    WAVLLM_SHARED(double, partial, [kSumThreads / 32]);
    const double total = sum_of_chunks(chunks, count, partial);
    if (threadIdx.x == 0) *ds += static_cast<float>(total);
}

void forward(const float* x, const float* s, float* y, int64_t n) {
    map("scalar_mul", ScalarMul{s}, n, y, x);
}

void backward_s(const float* dy, const float* x, double* chunks, float* ds, int64_t n) {
    launch_chunk_sums("scalar_mul backward of s", Product{dy, x}, chunks, n, 1, aligned<4>(dy, x));
    launch(add_total_kernel, {.grid = 1, .block = kSumThreads, .name = "scalar_mul backward of s, total"}, chunks, ds,
           sum_chunks(n));
}

WAVLLM_CUDA_BODY(scalar_mul_body, forward);
WAVLLM_CUDA_BODY(scalar_mul_backward_s_body, backward_s);

}  // namespace

}  // namespace wavllm::kernels
