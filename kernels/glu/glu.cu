#include "kernels/common/elementwise.cuh"
#include "kernels/common/math.cuh"
#include "kernels/glu/glu_body.h"

namespace wavllm::kernels {

namespace {

struct Glu {
    const float* x;
    float* y;
    int64_t half;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        const float* first = x + row * 2 * half + column;
        const auto b = Floats<V>::load(first + half);
        auto out = Floats<V>::load(first);
        for (int k = 0; k < V; ++k) out.v[k] *= sigmoid(b.v[k]);
        out.store(y + row * half + column);
    }
};

struct GluBackward {
    const float *dy, *x;
    float* dx;
    int64_t half;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        const int64_t at = row * 2 * half + column;
        const auto d = Floats<V>::load(dy + row * half + column);
        auto a = Floats<V>::load(x + at), b = Floats<V>::load(x + at + half);
        for (int k = 0; k < V; ++k) {
            const float s = sigmoid(b.v[k]);
            b.v[k] = d.v[k] * a.v[k] * (s * (1.0f - s));
            a.v[k] = d.v[k] * s;
        }
        a.store(dx + at);
        b.store(dx + at + half);
    }
};

void forward(const float* x, float* y, int64_t rows, int64_t half) {
    launch_cells("glu", Glu{x, y, half}, rows, half, half % 4 == 0 && aligned<4>(x, y));
}

void backward(const float* dy, const float* x, float* dx, int64_t rows, int64_t half) {
    launch_cells("glu backward", GluBackward{dy, x, dx, half}, rows, half, half % 4 == 0 && aligned<4>(dy, x, dx));
}

WAVLLM_CUDA_BODY(glu_body, forward);
WAVLLM_CUDA_BODY(glu_backward_body, backward);

}  // namespace

}  // namespace wavllm::kernels
