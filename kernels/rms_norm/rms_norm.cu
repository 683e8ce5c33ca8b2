#include "kernels/common/column_sums.cuh"
#include "kernels/common/row_team.cuh"
#include "kernels/rms_norm/rms_norm_body.h"

namespace wavllm::kernels {

namespace {

__device__ __forceinline__ float inverse_rms(float squares, int64_t d, float eps) {
    return 1.0f / sqrtf(squares / static_cast<float>(d) + eps);
}

/// 1/sqrt(mean(x^2) + eps) of one row.
template <int V, class Team>
__device__ __forceinline__ float inverse_rms(const float* x, int64_t d, float eps, Team team) {
    float squares = 0;
    for (int64_t i = team.first(V); i < d; i += team.step(V)) {
        const auto a = Floats<V>::load(x + i);
        for (int k = 0; k < V; ++k) squares = fmaf(a.v[k], a.v[k], squares);
    }
    return inverse_rms(team.sum(squares), d, eps);
}

struct RmsNorm {
    const float *x, *w;
    float* y;
    int64_t d;
    float eps;
    template <int V, class Team>
    __device__ void at(int64_t row, Team team) const {
        const float* xr = x + row * d;
        const float r = inverse_rms<V>(xr, d, eps, team);
        for (int64_t i = team.first(V); i < d; i += team.step(V)) {
            auto a = Floats<V>::load(xr + i);  // from the L1 cache this time
            const auto b = Floats<V>::load(w + i);
            for (int k = 0; k < V; ++k) a.v[k] = a.v[k] * r * b.v[k];
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
        float squares = 0, dots = 0;
        for (int64_t i = team.first(V); i < d; i += team.step(V)) {
            const auto a = Floats<V>::load(xr + i), b = Floats<V>::load(w + i), g = Floats<V>::load(dyr + i);
            for (int k = 0; k < V; ++k) {
                squares = fmaf(a.v[k], a.v[k], squares);
                dots = fmaf(a.v[k] * b.v[k], g.v[k], dots);
            }
        }
        const float r = inverse_rms(team.sum(squares), d, eps);
        const float c = -r * r * r * team.sum(dots) / static_cast<float>(d);
        for (int64_t i = team.first(V); i < d; i += team.step(V)) {
            auto a = Floats<V>::load(xr + i);
            const auto b = Floats<V>::load(w + i), g = Floats<V>::load(dyr + i);
            for (int k = 0; k < V; ++k) a.v[k] = fmaf(a.v[k], c, r * b.v[k] * g.v[k]);
            a.store(dx + row * d + i);
        }
    }
};

struct InverseRms {
    const float* x;
    float* scale;
    int64_t d;
    float eps;
    template <int V, class Team>
    __device__ void at(int64_t row, Team team) const {
        const float r = inverse_rms<V>(x + row * d, d, eps, team);
        if (team.is_first()) scale[row] = r;
    }
};

struct WeightTerm {
    const float *dy, *x, *scale;
    int64_t d;
    __device__ RowTerm operator()(int64_t row, int64_t column) const {
        return {dy[row * d + column] * x[row * d + column], scale[row]};
    }
};

void forward(const float* x, const float* w, float* y, int64_t rows, int64_t d, float eps) {
    launch_rows("rms_norm", RmsNorm{x, w, y, d, eps}, rows, d, d % 4 == 0 && aligned<4>(x, w, y));
}

void backward_x(const float* dy, const float* x, const float* w, float* dx, int64_t rows, int64_t d, float eps) {
    launch_rows("rms_norm backward of x", BackwardX{dy, x, w, dx, d, eps}, rows, d,
                d % 4 == 0 && aligned<4>(dy, x, w, dx));
}

void backward_w(const float* dy, const float* x, float* scale, float* dw, int64_t rows, int64_t d, float eps) {
    launch_rows("rms_norm inverse", InverseRms{x, scale, d, eps}, rows, d, d % 4 == 0 && aligned<4>(x));
    add_column_sums("rms_norm backward of w", WeightTerm{dy, x, scale, d}, nullptr, 1, rows, d, dw);
}

WAVLLM_CUDA_BODY(rms_norm_body, forward);
WAVLLM_CUDA_BODY(rms_norm_backward_x_body, backward_x);
WAVLLM_CUDA_BODY(rms_norm_backward_w_body, backward_w);

}  // namespace

}  // namespace wavllm::kernels
