#include "kernels/scalar_mul/scalar_mul.h"

#include "kernels/common/chunk_sums.h"
#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/scalar_mul/scalar_mul_body.h"
#include "kernels/scalar_mul/scalar_mul_f64.h"
#include "kernels/scale/scale.h"

namespace wavllm::kernels {

Tensor scalar_mul(const Tensor& x, const Tensor& s) {
    if (f64::runs(x)) return f64::scalar_mul(x, s);
    const Device device = x.device();
    expect("scalar_mul", "x", x, DType::f32, device);
    expect("scalar_mul", "s", s, {1}, DType::f32, device);
    if (device == Device::cpu) return scale(x, s.data<float>()[0]);
    Tensor y = Tensor::empty(x.shape(), DType::f32, device);
    on(scalar_mul_body, device)(x.device_data<float>(), s.device_data<float>(), y.mutable_device_data<float>(),
                                x.numel());
    return y;
}

void scalar_mul_backward_s(const Tensor& dy, const Tensor& x, Tensor& ds) {
    if (f64::runs(x)) return f64::scalar_mul_backward_s(dy, x, ds);
    const Device device = x.device();
    expect("scalar_mul backward", "x", x, DType::f32, device);
    expect("scalar_mul backward", "dy", dy, x.shape(), DType::f32, device);
    expect("scalar_mul backward", "ds", ds, {1}, DType::f32, device);
    if (device != Device::cpu) {
        Tensor chunks = workspace({sum_chunks(x.numel())}, device, DType::f64);
        on(scalar_mul_backward_s_body, device)(dy.device_data<float>(), x.device_data<float>(),
                                               chunks.mutable_device_data<double>(), ds.mutable_device_data<float>(),
                                               x.numel());
        return;
    }
    const int64_t rows = x.rows(), d = x.shape().last();
    Tensor dots = workspace({rows});
    const float *px = x.data<float>(), *pdy = dy.data<float>();
    float* pd = dots.mutable_data<float>();
    for_rows(rows, d, [=](int64_t row) {
        vf products{};
        for_lanes(d, [&](int64_t i, auto n) {
            products = fma(load(px + row * d + i, n), load(pdy + row * d + i, n), products);
        });
        pd[row] = sum(products);
    });
    float& total = ds.mutable_data<float>()[0];
    for (int64_t row = 0; row < rows; ++row) total += pd[row];
}

}  // namespace wavllm::kernels
