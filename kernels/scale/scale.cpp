#include "kernels/scale/scale.h"

#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/scale/scale_body.h"
#include "kernels/scale/scale_f64.h"

namespace wavllm::kernels {

Tensor scale(const Tensor& x, double number) {
    if (f64::runs(x)) return f64::scale(x, number);
    const auto s = static_cast<float>(number);
    const Device device = x.device();
    expect("scale", "x", x, DType::f32, device);
    Tensor y = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(scale_body, device)(x.device_data<float>(), s, y.mutable_device_data<float>(), x.numel());
        return y;
    }
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    for_elements(x.numel(), [=](int64_t i, auto n) { store(py + i, load(px + i, n) * s, n); });
    return y;
}

}  // namespace wavllm::kernels
