#include "kernels/attention_pool/attention_pool_body.h"
#include "kernels/common/borders.cuh"
#include "kernels/common/column_sums.cuh"
#include "kernels/common/math.cuh"
#include "kernels/common/row_team.cuh"

namespace wavllm::kernels {

namespace {

constexpr int kThreads = 256;

/// A block a sequence: the softmax of its scores.
__global__ void __launch_bounds__(kThreads)
    weights_kernel(const float* scores, const int64_t* borders, float* weights) {
    WAVLLM_SHARED(float, partial, [kThreads / 32]);
    const int64_t begin = borders[blockIdx.x], end = borders[blockIdx.x + 1];
    if (begin == end) return;
    const RowTeam<kThreads / 32> team{&partial[0]};
    float largest = -INFINITY, total = 0;
    for (int64_t t = begin + threadIdx.x; t < end; t += kThreads) largest = fmaxf(largest, scores[t]);
    largest = team.max(largest);
    for (int64_t t = begin + threadIdx.x; t < end; t += kThreads) total += exp_same_bits(scores[t] - largest);
    const float inverse = 1.0f / team.sum(total);
    for (int64_t t = begin + threadIdx.x; t < end; t += kThreads)
        weights[t] = exp_same_bits(scores[t] - largest) * inverse;
}

/// What a row adds to the pooled row of its sequence.
struct Weighted {
    const float *x, *weights;
    int64_t channels;
    __device__ RowTerm operator()(int64_t row, int64_t c) const {
        return {weights[row], x[row * channels + c]};
    }
};

struct BackwardX {
    const float *dy, *weights;
    const int64_t* borders;
    float* dx;
    int64_t sequences, channels;
    template <int V>
    __device__ void at(int64_t row, int64_t c) const {
        auto g = Floats<V>::load(dy + part_of(borders, sequences, row) * channels + c);
        for (int k = 0; k < V; ++k) g.v[k] *= weights[row];
        g.store(dx + row * channels + c);
    }
};

/// g[t] = dy . x[t].
struct Products {
    const float *dy, *x;
    const int64_t* borders;
    float* g;
    int64_t sequences, channels;
    template <int V, class Team>
    __device__ void at(int64_t row, Team team) const {
        const float *dys = dy + part_of(borders, sequences, row) * channels, *xr = x + row * channels;
        float sum = 0;
        for (int64_t c = team.first(V); c < channels; c += team.step(V)) {
            const auto a = Floats<V>::load(dys + c), b = Floats<V>::load(xr + c);
            for (int k = 0; k < V; ++k) sum = fmaf(a.v[k], b.v[k], sum);
        }
        sum = team.sum(sum);
        if (team.is_first()) g[row] = sum;
    }
};

/// A block a sequence: g becomes a (g - sum of a g).
__global__ void __launch_bounds__(kThreads)
    softmax_backward_kernel(const float* weights, const int64_t* borders, float* g) {
    WAVLLM_SHARED(float, partial, [kThreads / 32]);
    const int64_t begin = borders[blockIdx.x], end = borders[blockIdx.x + 1];
    float mean = 0;
    for (int64_t t = begin + threadIdx.x; t < end; t += kThreads) mean = fmaf(weights[t], g[t], mean);
    mean = RowTeam<kThreads / 32>{&partial[0]}.sum(mean);
    for (int64_t t = begin + threadIdx.x; t < end; t += kThreads) g[t] = weights[t] * (g[t] - mean);
}

void forward(const float* x, const float* scores, const int64_t* borders, float* weights, float* y, int64_t rows,
             int64_t sequences, int64_t channels) {
    if (sequences == 0) return;
    launch(weights_kernel,
           {.grid = dim3(static_cast<unsigned>(sequences)), .block = kThreads, .name = "attention_pool weights"},
           scores, borders, weights);
    add_column_sums("attention_pool", Weighted{x, weights, channels}, borders, sequences, rows, channels, y);
}

void backward_x(const float* dy, const float* weights, const int64_t* borders, float* dx, int64_t rows,
                int64_t sequences, int64_t channels) {
    launch_cells("attention_pool backward of x", BackwardX{dy, weights, borders, dx, sequences, channels}, rows,
                 channels, channels % 4 == 0 && aligned<4>(dy, dx));
}

void backward_scores(const float* dy, const float* x, const float* weights, const int64_t* borders, float* dscores,
                     int64_t rows, int64_t sequences, int64_t channels) {
    if (rows == 0) return;
    launch_rows("attention_pool backward of scores, products", Products{dy, x, borders, dscores, sequences, channels},
                rows, channels, channels % 4 == 0 && aligned<4>(dy, x));
    launch(softmax_backward_kernel,
           {.grid = dim3(static_cast<unsigned>(sequences)),
            .block = kThreads,
            .name = "attention_pool backward of scores"},
           weights, borders, dscores);
}

WAVLLM_CUDA_BODY(attention_pool_body, forward);
WAVLLM_CUDA_BODY(attention_pool_backward_x_body, backward_x);
WAVLLM_CUDA_BODY(attention_pool_backward_scores_body, backward_scores);

}  // namespace

}  // namespace wavllm::kernels
