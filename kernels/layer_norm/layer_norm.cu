#include "kernels/common/column_sums.cuh"
#include "kernels/common/row_team.cuh"
#include "kernels/layer_norm/layer_norm_body.h"

namespace wavllm::kernels {

namespace {

struct Moments {
    float mean, r;  ///< r = 1/sqrt(variance + eps)
};

/// In two passes, as on the CPU: the mean of the squares minus the square of the mean would cancel. The row comes from
/// memory once and from the cache after that.
template <int V, class Team>
__device__ __forceinline__ Moments moments(const float* x, int64_t d, float eps, Team team) {
    float sum = 0, squares = 0;
    for (int64_t i = team.first(V); i < d; i += team.step(V)) {
        const auto a = Floats<V>::load(x + i);
        for (int k = 0; k < V; ++k) sum += a.v[k];
    }
    const float mean = team.sum(sum) / static_cast<float>(d);
    for (int64_t i = team.first(V); i < d; i += team.step(V)) {
        const auto a = Floats<V>::load(x + i);
        for (int k = 0; k < V; ++k) squares = fmaf(a.v[k] - mean, a.v[k] - mean, squares);
    }
    return {mean, 1.0f / sqrtf(team.sum(squares) / static_cast<float>(d) + eps)};
}

struct LayerNorm {
    const float *x, *w, *b;
    float* y;
    int64_t d;
    float eps;
    template <int V, class Team>
    __device__ void at(int64_t row, Team team) const {
        const float* xr = x + row * d;
        const Moments m = moments<V>(xr, d, eps, team);
        for (int64_t i = team.first(V); i < d; i += team.step(V)) {
            auto a = Floats<V>::load(xr + i);
            const auto weight = Floats<V>::load(w + i), bias = Floats<V>::load(b + i);
            for (int k = 0; k < V; ++k) a.v[k] = fmaf((a.v[k] - m.mean) * m.r, weight.v[k], bias.v[k]);
            a.store(y + row * d + i);
        }
    }
};

struct BackwardX {
    const float *dy, *x, *w;
    float* dx;
    int64_t d;
    float eps;
    template <int V, class Team>
    __device__ void at(int64_t row, Team team) const {
        const float *xr = x + row * d, *dyr = dy + row * d;
        const Moments m = moments<V>(xr, d, eps, team);
        float g_sum = 0, gn_sum = 0;
        for (int64_t i = team.first(V); i < d; i += team.step(V)) {
            const auto a = Floats<V>::load(xr + i), weight = Floats<V>::load(w + i), up = Floats<V>::load(dyr + i);
            for (int k = 0; k < V; ++k) {
                const float g = weight.v[k] * up.v[k];
                g_sum += g;
                gn_sum = fmaf(g, (a.v[k] - m.mean) * m.r, gn_sum);
            }
        }
        const float g_mean = team.sum(g_sum) / static_cast<float>(d),
                    gn_mean = team.sum(gn_sum) / static_cast<float>(d);
        for (int64_t i = team.first(V); i < d; i += team.step(V)) {
            auto a = Floats<V>::load(xr + i);
            const auto weight = Floats<V>::load(w + i), up = Floats<V>::load(dyr + i);
            for (int k = 0; k < V; ++k)
                a.v[k] = m.r * fmaf((a.v[k] - m.mean) * m.r, -gn_mean, weight.v[k] * up.v[k] - g_mean);
            a.store(dx + row * d + i);
        }
    }
};

/// [mean, r] of each row.
struct RowMoments {
    const float* x;
    float* moments_of_row;
    int64_t d;
    float eps;
    template <int V, class Team>
    __device__ void at(int64_t row, Team team) const {
        const Moments m = moments<V>(x + row * d, d, eps, team);
        if (team.is_first()) *reinterpret_cast<float2*>(moments_of_row + 2 * row) = make_float2(m.mean, m.r);
    }
};

struct WeightTerm {
    const float *dy, *x, *moments_of_row;
    int64_t d;
    __device__ RowTerm operator()(int64_t row, int64_t column) const {
        const float2 m = *reinterpret_cast<const float2*>(moments_of_row + 2 * row);
        return {dy[row * d + column], (x[row * d + column] - m.x) * m.y};
    }
};

void forward(const float* x, const float* w, const float* b, float* y, int64_t rows, int64_t d, float eps) {
    launch_rows("layer_norm", LayerNorm{x, w, b, y, d, eps}, rows, d, d % 4 == 0 && aligned<4>(x, w, b, y));
}

void backward_x(const float* dy, const float* x, const float* w, float* dx, int64_t rows, int64_t d, float eps) {
    launch_rows("layer_norm backward of x", BackwardX{dy, x, w, dx, d, eps}, rows, d,
                d % 4 == 0 && aligned<4>(dy, x, w, dx));
}

void backward_w(const float* dy, const float* x, float* moments_of_row, float* dw, int64_t rows, int64_t d, float eps) {
    launch_rows("layer_norm moments", RowMoments{x, moments_of_row, d, eps}, rows, d, d % 4 == 0 && aligned<4>(x));
    add_column_sums("layer_norm backward of w", WeightTerm{dy, x, moments_of_row, d}, nullptr, 1, rows, d, dw);
}

WAVLLM_CUDA_BODY(layer_norm_body, forward);
WAVLLM_CUDA_BODY(layer_norm_backward_x_body, backward_x);
WAVLLM_CUDA_BODY(layer_norm_backward_w_body, backward_w);

}  // namespace

}  // namespace wavllm::kernels
