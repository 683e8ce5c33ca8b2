#include "kernels/add/add.h"

#include "kernels/add/add_body.h"
#include "kernels/add/add_f64.h"
#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

namespace {

/// y may be a.
void add_into(Tensor& y, const Tensor& a, const Tensor& b) {
    const Device device = a.device();
    expect("add", "a", a, DType::f32, device);
    expect("add", "b", b, a.shape(), DType::f32, device);
    float* py = y.mutable_device_data<float>();
    const float *pa = a.device_data<float>(), *pb = b.device_data<float>();
    if (device != Device::cpu) return on(add_body, device)(pa, pb, py, a.numel());
    parallel_for(a.numel(), 1 << 16, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) py[i] = pa[i] + pb[i];
    });
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
    if (f64::runs(a)) return f64::add(a, b);
    expect("add", "a", a, DType::f32, a.device());
    Tensor y = Tensor::empty(a.shape(), DType::f32, a.device());
    add_into(y, a, b);
    return y;
}

void add_(Tensor& a, const Tensor& b) {
    if (f64::runs(a)) return f64::add_(a, b);
    add_into(a, a, b);
}

}  // namespace wavllm::kernels
