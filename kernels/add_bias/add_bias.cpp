#include "kernels/add_bias/add_bias.h"

#include "kernels/add_bias/add_bias_body.h"
#include "kernels/add_bias/add_bias_f64.h"
#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

Tensor add_bias(const Tensor& x, const Tensor& bias) {
    if (f64::runs(x)) return f64::add_bias(x, bias);
    const Device device = x.device();
    expect("add_bias", "x", x, DType::f32, device);
    const int64_t n = x.shape().last();
    expect("add_bias", "bias", bias, {n}, DType::f32, device);
    Tensor y = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(add_bias_body, device)(x.device_data<float>(), bias.device_data<float>(), y.mutable_device_data<float>(),
                                  x.rows(), n);
        return y;
    }
    const float *px = x.data<float>(), *pb = bias.data<float>();
    float* py = y.mutable_data<float>();
    parallel_for(x.rows(), row_chunk(n), [=](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
            for (int64_t i = 0; i < n; ++i) py[t * n + i] = px[t * n + i] + pb[i];
    });
    return y;
}

}  // namespace wavllm::kernels
