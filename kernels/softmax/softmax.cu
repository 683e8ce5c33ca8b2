// The last step of three; steps.cu has those before it.

#include "kernels/common/math.cuh"
#include "kernels/common/row_team.cuh"
#include "kernels/softmax/softmax_body.h"

namespace wavllm::kernels {

namespace {

/// e^(x - m), and 0 for -inf even while m is still -inf itself.
__device__ __forceinline__ float term(float x, float m) {
    return x == -INFINITY ? 0.0f : exp_same_bits(x - m);
}

/// Maximum and sum in one pass (Milakov & Gimelshein 2018): a thread keeps the sum relative to the largest value so far
/// and scales it when that grows; at the end all threads scale theirs to the largest of all. NaN is no maximum, but stays
/// in the sum; of a row of -inf the sum is 0 and the result, 0 times infinity, NaN.
struct Softmax {
    const float* x;
    float* y;
    int64_t c;
    template <int V, class Team>
    __device__ void at(int64_t row, Team team) const {
        const float* xr = x + row * c;
        float* yr = y + row * c;
        float m = -INFINITY, sum = 0;
        for (int64_t i = team.first(V); i < c; i += team.step(V)) {
            const auto a = Floats<V>::load(xr + i);
            float larger = m;
            for (int k = 0; k < V; ++k) larger = fmaxf(larger, a.v[k]);
            if (larger > m) {
                sum *= term(m, larger);
                m = larger;
            }
            for (int k = 0; k < V; ++k) sum += term(a.v[k], m);
        }
        const float largest = team.max(m);
        const float inverse = 1.0f / team.sum(sum * term(m, largest));
        for (int64_t i = team.first(V); i < c; i += team.step(V)) {
            auto a = Floats<V>::load(xr + i);  // from the cache this time
            for (int k = 0; k < V; ++k) a.v[k] = term(a.v[k], largest) * inverse;
            a.store(yr + i);
        }
    }
};

struct SoftmaxBackward {
    const float *dy, *y;
    float* dx;
    int64_t c;
    template <int V, class Team>
    __device__ void at(int64_t row, Team team) const {
        const int64_t begin = row * c;
        float products = 0;
        for (int64_t i = team.first(V); i < c; i += team.step(V)) {
            const auto a = Floats<V>::load(y + begin + i), g = Floats<V>::load(dy + begin + i);
            for (int k = 0; k < V; ++k) products = fmaf(a.v[k], g.v[k], products);
        }
        products = team.sum(products);
        for (int64_t i = team.first(V); i < c; i += team.step(V)) {
            auto a = Floats<V>::load(y + begin + i);
            const auto g = Floats<V>::load(dy + begin + i);
            for (int k = 0; k < V; ++k) a.v[k] *= g.v[k] - products;
            a.store(dx + begin + i);
        }
    }
};

void forward(const float* x, float* y, int64_t rows, int64_t c) {
    launch_rows("softmax", Softmax{x, y, c}, rows, c, c % 4 == 0 && aligned<4>(x, y));
}

void backward(const float* dy, const float* y, float* dx, int64_t rows, int64_t c) {
    launch_rows("softmax backward", SoftmaxBackward{dy, y, dx, c}, rows, c, c % 4 == 0 && aligned<4>(dy, y, dx));
}

WAVLLM_CUDA_BODY(softmax_body, forward);
WAVLLM_CUDA_BODY(softmax_backward_body, backward);

}  // namespace

}  // namespace wavllm::kernels
