#include "kernels/common/elementwise.cuh"
#include "kernels/common/math.cuh"
#include "kernels/silu_mul/silu_mul_body.h"

namespace wavllm::kernels {

namespace {

struct SiluMul {
    const float* x;
    float* y;
    int64_t half;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        const float* first = x + row * 2 * half + column;
        const auto up = Floats<V>::load(first + half);
        auto out = Floats<V>::load(first);
        for (int k = 0; k < V; ++k) out.v[k] = silu(out.v[k]) * up.v[k];
        out.store(y + row * half + column);
    }
};

struct SiluMulBackward {
    const float *dy, *x;
    float* dx;
    int64_t half;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        const int64_t at = row * 2 * half + column;
        const auto d = Floats<V>::load(dy + row * half + column);
        auto gate = Floats<V>::load(x + at), up = Floats<V>::load(x + at + half);
        for (int k = 0; k < V; ++k) {
            const float g = gate.v[k], s = sigmoid(g);
            gate.v[k] = d.v[k] * up.v[k] * silu_slope(g, s);
            up.v[k] = d.v[k] * (g * s);
        }
        gate.store(dx + at);
        up.store(dx + at + half);
    }
};

void forward(const float* x, float* y, int64_t rows, int64_t half) {
    launch_cells("silu_mul", SiluMul{x, y, half}, rows, half, half % 4 == 0 && aligned<4>(x, y));
}

void backward(const float* dy, const float* x, float* dx, int64_t rows, int64_t half) {
    launch_cells("silu_mul backward", SiluMulBackward{dy, x, dx, half}, rows, half,
                 half % 4 == 0 && aligned<4>(dy, x, dx));
}

WAVLLM_CUDA_BODY(silu_mul_body, forward);
WAVLLM_CUDA_BODY(silu_mul_backward_body, backward);

}  // namespace

}  // namespace wavllm::kernels
