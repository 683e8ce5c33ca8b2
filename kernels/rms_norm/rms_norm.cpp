#include "kernels/rms_norm/rms_norm.h"

#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/common/simd.h"
#include "kernels/rms_norm/rms_norm_body.h"
#include "kernels/rms_norm/rms_norm_f64.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

namespace {

/// 1/sqrt(mean(x^2) + eps) of one row.
float inverse_rms(const float* x, int64_t d, float eps) {
    vf squares{};
    for_lanes(d, [&](int64_t i, auto n) {
        const vf v = load(x + i, n);
        squares = fma(v, v, squares);
    });
    return 1.0f / std::sqrt(sum(squares) / static_cast<float>(d) + eps);
}

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& w, double eps) {
    if (f64::runs(x)) return f64::rms_norm(x, w, eps);
    const Device device = x.device();
    expect("rms_norm", "x", x, DType::f32, device);
    expect("rms_norm", "weight", w, {x.shape().last()}, DType::f32, device);
    Tensor y = Tensor::empty(x.shape(), DType::f32, device);
    const int64_t d = x.shape().last();
    if (device != Device::cpu) {
        on(rms_norm_body, device)(x.device_data<float>(), w.device_data<float>(), y.mutable_device_data<float>(),
                                  x.rows(), d, eps);
        return y;
    }
    const float *px = x.data<float>(), *pw = w.data<float>();
    float* py = y.mutable_data<float>();
    parallel_for(x.rows(), row_chunk(d), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
            const float* xr = px + row * d;
            float* yr = py + row * d;
            const vf r = broadcast(inverse_rms(xr, d, eps));
            for_lanes(d, [&](int64_t i, auto n) { store(yr + i, load(xr + i, n) * r * load(pw + i, n), n); });
        }
    });
    return y;
}

Tensor rms_norm_backward_x(const Tensor& dy, const Tensor& x, const Tensor& w, double eps) {
    if (f64::runs(x)) return f64::rms_norm_backward_x(dy, x, w, eps);
    const Device device = x.device();
    expect("rms_norm backward", "dy", dy, x.shape(), DType::f32, device);
    Tensor dx = Tensor::empty(x.shape(), DType::f32, device);
    const int64_t d = x.shape().last();
    if (device != Device::cpu) {
        on(rms_norm_backward_x_body, device)(dy.device_data<float>(), x.device_data<float>(), w.device_data<float>(),
                                             dx.mutable_device_data<float>(), x.rows(), d, eps);
        return dx;
    }
    const float *px = x.data<float>(), *pw = w.data<float>(), *pdy = dy.data<float>();
    float* pdx = dx.mutable_data<float>();
    parallel_for(x.rows(), row_chunk(d), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
            const float *xr = px + row * d, *dyr = pdy + row * d;
            float* dxr = pdx + row * d;
            const float r = inverse_rms(xr, d, eps);
            vf dots{};
            for_lanes(
                d, [&](int64_t i, auto n) { dots = fma(load(xr + i, n) * load(pw + i, n), load(dyr + i, n), dots); });
            const vf c = broadcast(-r * r * r * sum(dots) / static_cast<float>(d)), vr = broadcast(r);
            for_lanes(d, [&](int64_t i, auto n) {
                store(dxr + i, fma(load(xr + i, n), c, vr * load(pw + i, n) * load(dyr + i, n)), n);
            });
        }
    });
    return dx;
}

void rms_norm_backward_w(const Tensor& dy, const Tensor& x, double eps, Tensor& dw) {
    if (f64::runs(x)) return f64::rms_norm_backward_w(dy, x, eps, dw);
    const int64_t d = x.shape().last(), rows = x.rows();
    const Device device = x.device();
    expect("rms_norm backward", "dw", dw, {d}, DType::f32, device);
    expect("rms_norm backward", "dy", dy, x.shape(), DType::f32, device);
    Tensor scale = workspace({rows}, device);
    if (device != Device::cpu) {
        on(rms_norm_backward_w_body, device)(dy.device_data<float>(), x.device_data<float>(),
                                             scale.mutable_device_data<float>(), dw.mutable_device_data<float>(), rows,
                                             d, eps);
        return;
    }
    const float *px = x.data<float>(), *pdy = dy.data<float>();
    float *ps = scale.mutable_data<float>(), *pdw = dw.mutable_data<float>();
    parallel_for(rows, row_chunk(d), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) ps[row] = inverse_rms(px + row * d, d, eps);
    });
    // Each chunk owns some columns and walks all rows, so the order of the sum is the order of the rows.
    parallel_for(d, 64, [&](int64_t begin, int64_t end) {
        for (int64_t row = 0; row < rows; ++row)
            for (int64_t i = begin; i < end; ++i)
                pdw[i] = std::fma(pdy[row * d + i] * px[row * d + i], ps[row], pdw[i]);
    });
}

}  // namespace wavllm::kernels
