#include "kernels/common/chunk_sums.cuh"
#include "kernels/weighted_sum/weighted_sum_body.h"

namespace wavllm::kernels {

namespace {

/// softmax(w) in double, by one warp: a dozen numbers, for which the host need not wait.
__global__ void probabilities_kernel(const float* w, float* p, int64_t layers) {
    float largest = -INFINITY;
    for (int64_t l = threadIdx.x; l < layers; l += 32) largest = fmaxf(largest, w[l]);
    for (int distance = 16; distance > 0; distance /= 2)
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, distance));
    double total = 0;
    for (int64_t l = threadIdx.x; l < layers; l += 32) total += exp(static_cast<double>(w[l]) - largest);
    for (int distance = 16; distance > 0; distance /= 2) total += __shfl_xor_sync(0xffffffffu, total, distance);
    for (int64_t l = threadIdx.x; l < layers; l += 32)
        p[l] = static_cast<float>(exp(static_cast<double>(w[l]) - largest) / total);
}

struct WeightedSum {
    const float *x, *p;
    float* y;
    int64_t layers, n;
    template <int V>
    __device__ void at(int64_t i) const {
        Floats<V> sum{};
        for (int64_t l = 0; l < layers; ++l) {
            const auto a = Floats<V>::load(x + l * n + i);
            for (int k = 0; k < V; ++k) sum.v[k] = fmaf(a.v[k], p[l], sum.v[k]);
        }
        sum.store(y + i);
    }
};

struct BackwardX {
    const float *dy, *p;
    float* dx;
    int64_t layers, n;
    template <int V>
    __device__ void at(int64_t i) const {
        const auto g = Floats<V>::load(dy + i);
        for (int64_t l = 0; l < layers; ++l) {
            Floats<V> a;
            for (int k = 0; k < V; ++k) a.v[k] = g.v[k] * p[l];
            a.store(dx + l * n + i);
        }
    }
};

/// dy . x[l], all rows together.
struct Product {
    using Sum = float;
    const float *dy, *x;
    int64_t n;
    template <int V>
    __device__ float add(float sum, unsigned layer, int64_t i) const {
        const auto g = Floats<V>::load(dy + i), a = Floats<V>::load(x + layer * n + i);
        for (int k = 0; k < V; ++k) sum = fmaf(g.v[k], a.v[k], sum);
        return sum;
    }
};

__global__ void __launch_bounds__(kSumThreads)
    layer_totals_kernel(const double* chunks, double* totals, int64_t chunks_each) {
    WAVLLM_SHARED(double, partial, [kSumThreads / 32]);
    const double total = sum_of_chunks(chunks + blockIdx.x * chunks_each, chunks_each, partial);
    if (threadIdx.x == 0) totals[blockIdx.x] = total;
}

/// dw[l] += p[l] (g[l] - sum over k of p[k] g[k]), by one warp; the sum may be taken out of the one over rows.
__global__ void weight_gradient_kernel(const double* totals, const float* p, float* dw, int64_t layers) {
    double mean = 0;
    for (int64_t l = threadIdx.x; l < layers; l += 32) mean = fma(static_cast<double>(p[l]), totals[l], mean);
    for (int distance = 16; distance > 0; distance /= 2) mean += __shfl_xor_sync(0xffffffffu, mean, distance);
    for (int64_t l = threadIdx.x; l < layers; l += 32) dw[l] += static_cast<float>(p[l] * (totals[l] - mean));
}

void probabilities(const float* w, float* p, int64_t layers) {
    launch(probabilities_kernel, {.grid = 1, .block = 32, .name = "weighted_sum softmax"}, w, p, layers);
}

void forward(const float* x, const float* w, float* p, float* y, int64_t layers, int64_t n) {
    probabilities(w, p, layers);
    launch_elements("weighted_sum", WeightedSum{x, p, y, layers, n}, n, n % 4 == 0 && aligned<4>(x, y));
}

void backward_x(const float* dy, const float* w, float* p, float* dx, int64_t layers, int64_t n) {
    probabilities(w, p, layers);
    launch_elements("weighted_sum backward of x", BackwardX{dy, p, dx, layers, n}, n, n % 4 == 0 && aligned<4>(dy, dx));
}

void backward_w(const float* dy, const float* x, const float* w, float* p, double* chunks, float* dw, int64_t layers,
                int64_t n) {
    if (n == 0) return;
    probabilities(w, p, layers);
    launch_chunk_sums("weighted_sum backward of w", Product{dy, x, n}, chunks, n, layers,
                      n % 4 == 0 && aligned<4>(dy, x));
    double* totals = chunks + layers * sum_chunks(n);
    launch(layer_totals_kernel,
           {.grid = dim3(static_cast<unsigned>(layers)),
            .block = kSumThreads,
            .name = "weighted_sum backward of w, totals"},
           chunks, totals, sum_chunks(n));
    launch(weight_gradient_kernel, {.grid = 1, .block = 32, .name = "weighted_sum backward of w, softmax"}, totals, p,
           dw, layers);
}

WAVLLM_CUDA_BODY(weighted_sum_body, forward);
WAVLLM_CUDA_BODY(weighted_sum_backward_x_body, backward_x);
WAVLLM_CUDA_BODY(weighted_sum_backward_w_body, backward_w);

}  // namespace

}  // namespace wavllm::kernels
