#include "kernels/add_bias/add_bias_body.h"
#include "kernels/common/elementwise.cuh"

namespace wavllm::kernels {

namespace {

struct AddBias {
    const float *x, *bias;
    float* y;
    int64_t n;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        const auto b = Floats<V>::load(bias + column);
        auto out = Floats<V>::load(x + row * n + column);
        for (int k = 0; k < V; ++k) out.v[k] += b.v[k];
        out.store(y + row * n + column);
    }
};

void add_bias(const float* x, const float* bias, float* y, int64_t rows, int64_t n) {
    launch_cells("add_bias", AddBias{x, bias, y, n}, rows, n, n % 4 == 0 && aligned<4>(x, bias, y));
}

WAVLLM_CUDA_BODY(add_bias_body, add_bias);

}  // namespace

}  // namespace wavllm::kernels
