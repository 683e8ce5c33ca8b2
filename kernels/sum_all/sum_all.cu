#include "kernels/common/chunk_sums.cuh"
#include "kernels/sum_all/sum_all_body.h"

namespace wavllm::kernels {

namespace {

struct Value {
    using Sum = float;
    const float* x;
    template <int V>
    __device__ float add(float sum, unsigned, int64_t i) const {
        const auto a = Floats<V>::load(x + i);
        for (int k = 0; k < V; ++k) sum += a.v[k];
        return sum;
    }
};

/// In double, where squares of floats are exact and cannot overflow.
struct Square {
    using Sum = double;
    const float* x;
    template <int V>
    __device__ double add(double sum, unsigned, int64_t i) const {
        const auto a = Floats<V>::load(x + i);
        for (int k = 0; k < V; ++k) sum = fma(static_cast<double>(a.v[k]), static_cast<double>(a.v[k]), sum);
        return sum;
    }
};

template <class T>
__global__ void __launch_bounds__(kSumThreads) total_kernel(const double* chunks, T* y, int64_t count) {
    WAVLLM_SHARED(double, partial, [kSumThreads / 32]);
    const double total = sum_of_chunks(chunks, count, partial);
    if (threadIdx.x == 0) *y = static_cast<T>(total);
}

struct Fill {
    const float* value;
    float* y;
    template <int V>
    __device__ void at(int64_t i) const {
        Floats<V> a;
        for (int k = 0; k < V; ++k) a.v[k] = *value;
        a.store(y + i);
    }
};

template <class Term, class T>
void total(const char* name, const Term& term, double* chunks, T* y, int64_t n) {
    launch_chunk_sums(name, term, chunks, n, 1, aligned<4>(term.x));
    launch(total_kernel<T>, {.grid = 1, .block = kSumThreads, .name = name}, chunks, y, sum_chunks(n));
}

void forward(const float* x, double* chunks, float* y, int64_t n) {
    total("sum_all", Value{x}, chunks, y, n);
}

void backward(const float* dy, float* dx, int64_t n) {
    launch_elements("sum_all backward", Fill{dy, dx}, n, aligned<4>(dx));
}

void squares(const float* x, double* chunks, double* sum, int64_t n) {
    total("sum_of_squares", Square{x}, chunks, sum, n);
}

WAVLLM_CUDA_BODY(sum_all_body, forward);
WAVLLM_CUDA_BODY(sum_all_backward_body, backward);
WAVLLM_CUDA_BODY(sum_of_squares_body, squares);

}  // namespace

}  // namespace wavllm::kernels
