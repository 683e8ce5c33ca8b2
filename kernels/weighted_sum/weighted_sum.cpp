#include "kernels/weighted_sum/weighted_sum.h"

#include "kernels/common/loops.h"

namespace wavllm::kernels {

namespace {

/// softmax(w) in workspace. Few numbers, so computed in double.
Tensor probabilities(std::string_view op, const Tensor& w) {
    expect(op, "w", w);
    const int64_t layers = w.numel();
    if (w.rank() != 1 || layers == 0) throw ShapeError("{}: w must be [L] with L > 0, but is {}", op, w.describe());
    Tensor p = workspace({layers});
    const float* pw = w.data<float>();
    float* pp = p.mutable_data<float>();
    double largest = pw[0], total = 0;
    for (int64_t l = 0; l < layers; ++l) largest = std::max<double>(largest, pw[l]);
    for (int64_t l = 0; l < layers; ++l) total += std::exp(pw[l] - largest);
    for (int64_t l = 0; l < layers; ++l) pp[l] = static_cast<float>(std::exp(pw[l] - largest) / total);
    return p;
}

}  // namespace

Tensor weighted_sum(const Tensor& x, const Tensor& w) {
    expect("weighted_sum", "x", x);
    if (x.rank() != 3) throw ShapeError("weighted_sum: x must be [L, T, D], but is {}", x.describe());
    expect("weighted_sum", "w", w, {x.dim(0)});
    const Tensor p = probabilities("weighted_sum", w);
    const int64_t layers = x.dim(0), n = x.dim(1) * x.dim(2);
    Tensor y = Tensor::empty({x.dim(1), x.dim(2)});
    const float *px = x.data<float>(), *pp = p.data<float>();
    float* py = y.mutable_data<float>();
    for_elements(n, [=](int64_t i, auto lanes) {
        vf total{};
        for (int64_t l = 0; l < layers; ++l) total = fma(load(px + l * n + i, lanes), broadcast(pp[l]), total);
        store(py + i, total, lanes);
    });
    return y;
}

Tensor weighted_sum_backward_x(const Tensor& dy, const Tensor& w) {
    expect("weighted_sum backward", "dy", dy);
    if (dy.rank() != 2) throw ShapeError("weighted_sum backward: dy must be [T, D], but is {}", dy.describe());
    const Tensor p = probabilities("weighted_sum backward", w);
    const int64_t layers = w.numel(), n = dy.numel();
    Tensor dx = Tensor::empty({layers, dy.dim(0), dy.dim(1)});
    const float *pdy = dy.data<float>(), *pp = p.data<float>();
    float* pdx = dx.mutable_data<float>();
    for_elements(n, [=](int64_t i, auto lanes) {
        const vf d = load(pdy + i, lanes);
        for (int64_t l = 0; l < layers; ++l) store(pdx + l * n + i, d * pp[l], lanes);
    });
    return dx;
}

void weighted_sum_backward_w(const Tensor& dy, const Tensor& x, const Tensor& w, Tensor& dw) {
    expect("weighted_sum backward", "x", x);
    if (x.rank() != 3) throw ShapeError("weighted_sum backward: x must be [L, T, D], but is {}", x.describe());
    const int64_t layers = x.dim(0), rows = x.dim(1), d = x.dim(2);
    expect("weighted_sum backward", "dy", dy, {rows, d});
    expect("weighted_sum backward", "w", w, {layers});
    expect("weighted_sum backward", "dw", dw, {layers});
    const Tensor p = probabilities("weighted_sum backward", w);
    Tensor terms = workspace({rows, layers});
    const float *px = x.data<float>(), *pdy = dy.data<float>(), *pp = p.data<float>();
    float *pt = terms.mutable_data<float>(), *pdw = dw.mutable_data<float>();
    for_rows(rows, d * layers, [=](int64_t t) {
        const float* dyr = pdy + t * d;
        float* g = pt + t * layers;
        float mean = 0;
        for (int64_t l = 0; l < layers; ++l) {
            const float* xr = px + (l * rows + t) * d;
            vf dot{};
            for_lanes(d, [&](int64_t i, auto n) { dot = fma(load(dyr + i, n), load(xr + i, n), dot); });
            g[l] = sum(dot);
            mean = std::fma(pp[l], g[l], mean);
        }
        for (int64_t l = 0; l < layers; ++l) g[l] = pp[l] * (g[l] - mean);
    });
    for (int64_t t = 0; t < rows; ++t)
        for (int64_t l = 0; l < layers; ++l) pdw[l] += pt[t * layers + l];
}

}  // namespace wavllm::kernels
