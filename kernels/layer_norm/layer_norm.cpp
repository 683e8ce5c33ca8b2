#include "kernels/layer_norm/layer_norm.h"

#include "kernels/common/column_sums_body.h"
#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/layer_norm/layer_norm_body.h"
#include "kernels/layer_norm/layer_norm_f64.h"

namespace wavllm::kernels {

namespace {

struct Moments {
    float mean, r;  ///< r = 1/sqrt(variance + eps)
};

/// x - mean, but zero in the lanes past the end of the row.
template <class Lanes>
WAVLLM_INLINE vf centred(const float* x, vf mean, Lanes n) {
    vf v = load(x, n) - mean;
    if constexpr (std::is_same_v<Lanes, int64_t>)
        for (int64_t i = n; i < kLanes; ++i) v[i] = 0;
    return v;
}

Moments moments(const float* x, int64_t d, float eps) {
    vf total{};
    for_lanes(d, [&](int64_t i, auto n) { total += load(x + i, n); });
    const float mean = sum(total) / static_cast<float>(d);
    const vf vmean = broadcast(mean);
    vf squares{};
    for_lanes(d, [&](int64_t i, auto n) {
        const vf v = centred(x + i, vmean, n);
        squares = fma(v, v, squares);
    });
    return {mean, 1.0f / std::sqrt(sum(squares) / static_cast<float>(d) + eps)};
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
    if (f64::runs(x)) return f64::layer_norm(x, w, b, eps);
    const Device device = x.device();
    expect("layer_norm", "x", x, DType::f32, device);
    const int64_t d = x.shape().last();
    expect("layer_norm", "weight", w, {d}, DType::f32, device);
    expect("layer_norm", "bias", b, {d}, DType::f32, device);
    Tensor y = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(layer_norm_body, device)(x.device_data<float>(), w.device_data<float>(), b.device_data<float>(),
                                    y.mutable_device_data<float>(), x.rows(), d, eps);
        return y;
    }
    const float *px = x.data<float>(), *pw = w.data<float>(), *pb = b.data<float>();
    float* py = y.mutable_data<float>();
    for_rows(x.rows(), d, [=](int64_t row) {
        const float* xr = px + row * d;
        float* yr = py + row * d;
        const Moments m = moments(xr, d, eps);
        const vf mean = broadcast(m.mean), r = broadcast(m.r);
        for_lanes(d, [&](int64_t i, auto n) {
            store(yr + i, fma((load(xr + i, n) - mean) * r, load(pw + i, n), load(pb + i, n)), n);
        });
    });
    return y;
}

Tensor layer_norm_backward_x(const Tensor& dy, const Tensor& x, const Tensor& w, double eps) {
    if (f64::runs(x)) return f64::layer_norm_backward_x(dy, x, w, eps);
    const Device device = x.device();
    expect("layer_norm backward", "dy", dy, x.shape(), DType::f32, device);
    const int64_t d = x.shape().last();
    expect("layer_norm backward", "weight", w, {d}, DType::f32, device);
    Tensor dx = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(layer_norm_backward_x_body, device)(dy.device_data<float>(), x.device_data<float>(), w.device_data<float>(),
                                               dx.mutable_device_data<float>(), x.rows(), d, eps);
        return dx;
    }
    const float *px = x.data<float>(), *pw = w.data<float>(), *pdy = dy.data<float>();
    float* pdx = dx.mutable_data<float>();
    for_rows(x.rows(), d, [=](int64_t row) {
        const float *xr = px + row * d, *dyr = pdy + row * d;
        float* dxr = pdx + row * d;
        const Moments m = moments(xr, d, eps);
        const vf mean = broadcast(m.mean), r = broadcast(m.r);
        vf g_sum{}, gn_sum{};
        for_lanes(d, [&](int64_t i, auto n) {
            const vf g = load(pw + i, n) * load(dyr + i, n);  // zero past the end
            g_sum += g;
            gn_sum = fma(g, (load(xr + i, n) - mean) * r, gn_sum);
        });
        const vf g_mean = broadcast(sum(g_sum) / static_cast<float>(d));
        const vf gn_mean = broadcast(sum(gn_sum) / static_cast<float>(d));
        for_lanes(d, [&](int64_t i, auto n) {
            const vf g = load(pw + i, n) * load(dyr + i, n);
            store(dxr + i, r * fma((load(xr + i, n) - mean) * r, -gn_mean, g - g_mean), n);
        });
    });
    return dx;
}

void layer_norm_backward_w(const Tensor& dy, const Tensor& x, double eps, Tensor& dw) {
    if (f64::runs(x)) return f64::layer_norm_backward_w(dy, x, eps, dw);
    const int64_t d = x.shape().last(), rows = x.rows();
    const Device device = x.device();
    expect("layer_norm backward", "dw", dw, {d}, DType::f32, device);
    expect("layer_norm backward", "dy", dy, x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        Tensor moments_of_row = workspace({rows, 2}, device);
        return on(layer_norm_backward_w_body, device)(dy.device_data<float>(), x.device_data<float>(),
                                                      moments_of_row.mutable_device_data<float>(),
                                                      dw.mutable_device_data<float>(), rows, d, eps);
    }
    Tensor means = workspace({rows}), scales = workspace({rows});
    const float *px = x.data<float>(), *pdy = dy.data<float>();
    float *pm = means.mutable_data<float>(), *ps = scales.mutable_data<float>(), *pdw = dw.mutable_data<float>();
    for_rows(rows, d, [=](int64_t row) {
        const Moments m = moments(px + row * d, d, eps);
        pm[row] = m.mean;
        ps[row] = m.r;
    });
    for_column_slices(d, [=](int64_t begin, int64_t end) {
        for (int64_t row = 0; row < rows; ++row)
            for (int64_t i = begin; i < end; ++i)
                pdw[i] = std::fma(pdy[row * d + i], (px[row * d + i] - pm[row]) * ps[row], pdw[i]);
    });
}

void layer_norm_backward_b(const Tensor& dy, Tensor& db) {
    if (f64::runs(dy)) return f64::layer_norm_backward_b(dy, db);
    const Device device = dy.device();
    expect("layer_norm backward", "dy", dy, DType::f32, device);
    const int64_t d = dy.shape().last(), rows = dy.rows();
    expect("layer_norm backward", "db", db, {d}, DType::f32, device);
    if (device != Device::cpu)
        return on(column_sums_body, device)(dy.device_data<float>(), nullptr, nullptr, 1, rows, d,
                                            db.mutable_device_data<float>());
    const float* pdy = dy.data<float>();
    float* pdb = db.mutable_data<float>();
    for_column_slices(d, [=](int64_t begin, int64_t end) {
        for (int64_t row = 0; row < rows; ++row)
            for (int64_t i = begin; i < end; ++i) pdb[i] += pdy[row * d + i];
    });
}

}  // namespace wavllm::kernels
