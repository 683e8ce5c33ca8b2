#include "kernels/sigmoid/sigmoid.h"

#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/sigmoid/sigmoid_body.h"
#include "kernels/sigmoid/sigmoid_f64.h"

namespace wavllm::kernels {

Tensor sigmoid(const Tensor& x) {
    if (f64::runs(x)) return f64::sigmoid(x);
    const Device device = x.device();
    expect("sigmoid", "x", x, DType::f32, device);
    Tensor y = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(sigmoid_body, device)(x.device_data<float>(), y.mutable_device_data<float>(), x.numel());
        return y;
    }
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    for_elements(x.numel(), [=](int64_t i, auto n) {
        const vf v = load(px + i, n);
        store(py + i, sigmoid(v), n);
    });
    return y;
}

Tensor sigmoid_backward(const Tensor& dy, const Tensor& x) {
    if (f64::runs(x)) return f64::sigmoid_backward(dy, x);
    const Device device = x.device();
    expect("sigmoid backward", "x", x, DType::f32, device);
    expect("sigmoid backward", "dy", dy, x.shape(), DType::f32, device);
    Tensor dx = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(sigmoid_backward_body, device)(dy.device_data<float>(), x.device_data<float>(),
                                          dx.mutable_device_data<float>(), x.numel());
        return dx;
    }
    const float *px = x.data<float>(), *pdy = dy.data<float>();
    float* pdx = dx.mutable_data<float>();
    for_elements(x.numel(), [=](int64_t i, auto n) {
        const vf v = load(px + i, n), s = sigmoid(v);
        store(pdx + i, load(pdy + i, n) * (s * (1.0f - s)), n);
    });
    return dx;
}

}  // namespace wavllm::kernels
