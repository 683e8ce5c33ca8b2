#include "kernels/mul/mul.h"

#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/mul/mul_body.h"
#include "kernels/mul/mul_f64.h"

namespace wavllm::kernels {

Tensor mul(const Tensor& a, const Tensor& b) {
    if (f64::runs(a)) return f64::mul(a, b);
    const Device device = a.device();
    expect("mul", "a", a, DType::f32, device);
    expect("mul", "b", b, a.shape(), DType::f32, device);
    Tensor y = Tensor::empty(a.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(mul_body, device)(a.device_data<float>(), b.device_data<float>(), y.mutable_device_data<float>(), a.numel());
        return y;
    }
    const float *pa = a.data<float>(), *pb = b.data<float>();
    float* py = y.mutable_data<float>();
    for_elements(a.numel(), [=](int64_t i, auto n) { store(py + i, load(pa + i, n) * load(pb + i, n), n); });
    return y;
}

}  // namespace wavllm::kernels
