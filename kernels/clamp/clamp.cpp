#include "kernels/clamp/clamp.h"

#include "kernels/clamp/clamp_body.h"
#include "kernels/clamp/clamp_f64.h"
#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"

namespace wavllm::kernels {

namespace {

void expect_limits(double low, double high) {
    if (!(low < high)) throw UsageError("clamp: the lower limit {} must be below the upper one, {}", low, high);
}

}  // namespace

Tensor clamp(const Tensor& x, double lower, double upper) {
    expect_limits(lower, upper);
    if (f64::runs(x)) return f64::clamp(x, lower, upper);
    const Device device = x.device();
    const auto low = static_cast<float>(lower), high = static_cast<float>(upper);
    expect("clamp", "x", x, DType::f32, device);
    Tensor y = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(clamp_body, device)(x.device_data<float>(), low, high, y.mutable_device_data<float>(), x.numel());
        return y;
    }
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    // in this order of arguments vmin and vmax give back a NaN
    for_elements(x.numel(), [=](int64_t i, auto n) {
        store(py + i, vmin(broadcast(high), vmax(broadcast(low), load(px + i, n))), n);
    });
    return y;
}

Tensor clamp_backward(const Tensor& dy, const Tensor& x, double lower, double upper) {
    expect_limits(lower, upper);
    if (f64::runs(x)) return f64::clamp_backward(dy, x, lower, upper);
    const Device device = x.device();
    const auto low = static_cast<float>(lower), high = static_cast<float>(upper);
    expect("clamp backward", "x", x, DType::f32, device);
    expect("clamp backward", "dy", dy, x.shape(), DType::f32, device);
    Tensor dx = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(clamp_backward_body, device)(dy.device_data<float>(), x.device_data<float>(), low, high,
                                        dx.mutable_device_data<float>(), x.numel());
        return dx;
    }
    const float *px = x.data<float>(), *pdy = dy.data<float>();
    float* pdx = dx.mutable_data<float>();
    for_elements(x.numel(), [=](int64_t i, auto n) {
        const vf v = load(px + i, n), above = v > broadcast(low) ? load(pdy + i, n) : vf{};
        store(pdx + i, v <= broadcast(high) ? above : vf{}, n);
    });
    return dx;
}

}  // namespace wavllm::kernels
