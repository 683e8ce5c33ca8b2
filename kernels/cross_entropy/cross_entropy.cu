#include "kernels/common/elementwise.cuh"
#include "kernels/common/log_sum.cuh"
#include "kernels/cross_entropy/cross_entropy_body.h"

namespace wavllm::kernels {

namespace {

constexpr int kThreads = 512;  // a block a row: of 49152 logits each thread has 24 times four

/// What a row's gradient is multiplied by: one number for all, or the row's own.
struct Factor {
    float all;
    const float* of_row;
    __device__ __forceinline__ float operator()(int64_t row) const {
        return of_row != nullptr ? of_row[row] : all;
    }
};

/// losses, gradient: null if not wanted. A thread writes the elements that it alone has read: gradient may be z.
template <int V>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_kernel(DeviceLogits logits, Factor factor, float* losses, float* gradient) {
    WAVLLM_SHARED(float, maxima, [kThreads / 32]);
    WAVLLM_SHARED(double, sums, [kThreads / 32]);
    const int64_t row = blockIdx.x, n = logits.n, target = logits.targets[row];
    const float* z = logits.z + row * logits.stride;
    const float of_target = z[target];
    MaxSum mine;
    for (int64_t i = threadIdx.x * V; i < n; i += kThreads * V) mine.add(Floats<V>::load(z + i));
    const BlockMaxSum all = block_max_sum(mine, maxima, sums);  // behind its barriers nobody needs z[target] any more
    const float log_sum = static_cast<float>(log(all.sum));
    if (losses != nullptr && threadIdx.x == 0) losses[row] = all.max - of_target + log_sum;
    if (gradient == nullptr) return;
    gradient += row * logits.stride;
    const float scale = factor(row);
    for (int64_t i = threadIdx.x * V; i < n; i += kThreads * V) {
        auto x = Floats<V>::load(z + i);  // from the L2 cache this time
#pragma unroll
        for (int k = 0; k < V; ++k) {
            x.v[k] = expf(x.v[k] - all.max - log_sum) * scale;
            if (i + k == target) x.v[k] -= scale;
        }
        x.store(gradient + i);
    }
}

void rows(const DeviceLogits& logits, const Factor& factor, float* losses, float* gradient, const char* name) {
    if (logits.rows == 0) return;
    const bool vectors = logits.n % 4 == 0 && logits.stride % 4 == 0 && aligned<4>(logits.z, gradient);
    launch(vectors ? cross_entropy_kernel<4> : cross_entropy_kernel<1>,
           {.grid = dim3(static_cast<unsigned>(logits.rows)), .block = kThreads, .name = name}, logits, factor, losses,
           gradient);
}

void forward(const DeviceLogits& logits, float scale, float* losses, float* gradient) {
    rows(logits, {scale, nullptr}, losses, gradient, "cross_entropy");
}

void backward(const DeviceLogits& logits, const float* dlosses, float* gradient) {
    rows(logits, {0.0f, dlosses}, nullptr, gradient, "cross_entropy backward");
}

WAVLLM_CUDA_BODY(cross_entropy_rows_body, forward);
WAVLLM_CUDA_BODY(cross_entropy_backward_body, backward);

}  // namespace

}  // namespace wavllm::kernels
