// Step 1: a thread makes one element. Two loads for each fma: the arithmetic waits for memory, 2 K floats an element.
// Threads side by side have columns side by side, so that b is read in whole lines and a is one word for all of them.

#include "kernels/gemm/steps/steps.h"
#include "kernels/simt/cuda.h"

namespace wavllm::kernels {

namespace {

constexpr int kThreads = 256;

__global__ void gemm_naive_kernel(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k) {
    const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
    if (i >= m * n) return;
    const int64_t row = i / n, column = i % n;
    float sum = 0;
    for (int64_t j = 0; j < k; ++j) sum = fmaf(a[row * k + j], b[j * n + column], sum);
    c[i] = sum;
}

void gemm_naive(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k) {
    if (m * n == 0) return;
    launch(gemm_naive_kernel,
           {.grid = dim3(static_cast<unsigned>((m * n + kThreads - 1) / kThreads)),
            .block = kThreads,
            .name = "gemm step 1",
            .flops = 2.0 * static_cast<double>(m * n * k)},
           a, b, c, m, n, k);
}

WAVLLM_CUDA_BODY(gemm_naive_body, gemm_naive);

}  // namespace

}  // namespace wavllm::kernels
