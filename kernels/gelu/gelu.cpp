#include "kernels/gelu/gelu.h"

#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/gelu/gelu_body.h"
#include "kernels/gelu/gelu_f64.h"
#include "kernels/gelu/normal_cdf.h"

namespace wavllm::kernels {

Tensor gelu(const Tensor& x) {
    if (f64::runs(x)) return f64::gelu(x);
    const Device device = x.device();
    expect("gelu", "x", x, DType::f32, device);
    Tensor y = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(gelu_body, device)(x.device_data<float>(), y.mutable_device_data<float>(), x.numel());
        return y;
    }
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    for_elements(x.numel(), [=](int64_t i, auto n) {
        const vf v = load(px + i, n);
        store(py + i, v * normal_distribution(v).cdf, n);
    });
    return y;
}

Tensor gelu_backward(const Tensor& dy, const Tensor& x) {
    if (f64::runs(x)) return f64::gelu_backward(dy, x);
    const Device device = x.device();
    expect("gelu backward", "x", x, DType::f32, device);
    expect("gelu backward", "dy", dy, x.shape(), DType::f32, device);
    Tensor dx = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(gelu_backward_body, device)(dy.device_data<float>(), x.device_data<float>(), dx.mutable_device_data<float>(),
                                       x.numel());
        return dx;
    }
    const float *px = x.data<float>(), *pdy = dy.data<float>();
    float* pdx = dx.mutable_data<float>();
    for_elements(x.numel(), [=](int64_t i, auto n) {
        const vf v = load(px + i, n);
        const NormalDistribution normal = normal_distribution(v);
        const vf density = normal.exponential * 0.398942280401432678f;  // 1 / sqrt(2 pi)
        store(pdx + i, load(pdy + i, n) * fma(v, density, normal.cdf), n);
    });
    return dx;
}

}  // namespace wavllm::kernels
