#include "kernels/weighted_sum/weighted_sum.h"

#include "kernels/common/chunk_sums.h"
#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/weighted_sum/weighted_sum_body.h"
#include "kernels/weighted_sum/weighted_sum_f64.h"

namespace wavllm::kernels {

namespace {

/// softmax(w) in workspace. Few numbers, so computed in double. On a device uninitialised: the body computes it.
Tensor probabilities(std::string_view op, const Tensor& w, Device device) {
    expect(op, "w", w, DType::f32, device);
    const int64_t layers = w.numel();
    if (w.rank() != 1 || layers == 0) throw ShapeError("{}: w must be [L] with L > 0, but is {}", op, w.describe());
    Tensor p = workspace({layers}, device);
    if (device != Device::cpu) return p;
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
    if (f64::runs(x)) return f64::weighted_sum(x, w);
    const Device device = x.device();
    expect("weighted_sum", "x", x, DType::f32, device);
    if (x.rank() != 3) throw ShapeError("weighted_sum: x must be [L, T, D], but is {}", x.describe());
    expect("weighted_sum", "w", w, {x.dim(0)}, DType::f32, device);
    Tensor p = probabilities("weighted_sum", w, device);
    const int64_t layers = x.dim(0), n = x.dim(1) * x.dim(2);
    Tensor y = Tensor::empty({x.dim(1), x.dim(2)}, DType::f32, device);
    if (device != Device::cpu) {
        on(weighted_sum_body, device)(x.device_data<float>(), w.device_data<float>(), p.mutable_device_data<float>(),
                                      y.mutable_device_data<float>(), layers, n);
        return y;
    }
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
    if (f64::runs(dy)) return f64::weighted_sum_backward_x(dy, w);
    const Device device = dy.device();
    expect("weighted_sum backward", "dy", dy, DType::f32, device);
    if (dy.rank() != 2) throw ShapeError("weighted_sum backward: dy must be [T, D], but is {}", dy.describe());
    Tensor p = probabilities("weighted_sum backward", w, device);
    const int64_t layers = w.numel(), n = dy.numel();
    Tensor dx = Tensor::empty({layers, dy.dim(0), dy.dim(1)}, DType::f32, device);
    if (device != Device::cpu) {
        on(weighted_sum_backward_x_body, device)(dy.device_data<float>(), w.device_data<float>(),
                                                 p.mutable_device_data<float>(), dx.mutable_device_data<float>(),
                                                 layers, n);
        return dx;
    }
    const float *pdy = dy.data<float>(), *pp = p.data<float>();
    float* pdx = dx.mutable_data<float>();
    for_elements(n, [=](int64_t i, auto lanes) {
        const vf d = load(pdy + i, lanes);
        for (int64_t l = 0; l < layers; ++l) store(pdx + l * n + i, d * pp[l], lanes);
    });
    return dx;
}

void weighted_sum_backward_w(const Tensor& dy, const Tensor& x, const Tensor& w, Tensor& dw) {
    if (f64::runs(x)) return f64::weighted_sum_backward_w(dy, x, w, dw);
    const Device device = x.device();
    expect("weighted_sum backward", "x", x, DType::f32, device);
    if (x.rank() != 3) throw ShapeError("weighted_sum backward: x must be [L, T, D], but is {}", x.describe());
    const int64_t layers = x.dim(0), rows = x.dim(1), d = x.dim(2);
    expect("weighted_sum backward", "dy", dy, {rows, d}, DType::f32, device);
    expect("weighted_sum backward", "w", w, {layers}, DType::f32, device);
    expect("weighted_sum backward", "dw", dw, {layers}, DType::f32, device);
    Tensor p = probabilities("weighted_sum backward", w, device);
    if (device != Device::cpu) {
        Tensor chunks = workspace({layers * (sum_chunks(rows * d) + 1)}, device, DType::f64);
        on(weighted_sum_backward_w_body, device)(
            dy.device_data<float>(), x.device_data<float>(), w.device_data<float>(), p.mutable_device_data<float>(),
            chunks.mutable_device_data<double>(), dw.mutable_device_data<float>(), layers, rows * d);
        return;
    }
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
