#include "kernels/silu_mul/silu_mul.h"

#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/silu_mul/silu_mul_body.h"
#include "kernels/silu_mul/silu_mul_f64.h"

namespace wavllm::kernels {

Tensor silu_mul(const Tensor& gate_up) {
    if (f64::runs(gate_up)) return f64::silu_mul(gate_up);
    const Device device = gate_up.device();
    expect("silu_mul", "gate_up", gate_up, DType::f32, device);
    if (gate_up.rank() == 0 || gate_up.shape().last() % 2 != 0)
        throw ShapeError("silu_mul: gate_up must have an even number of columns, but is {}", gate_up.describe());
    const int64_t f = gate_up.shape().last() / 2;
    Tensor y = Tensor::empty(gate_up.shape().with(-1, f), DType::f32, device);
    if (device != Device::cpu) {
        on(silu_mul_body, device)(gate_up.device_data<float>(), y.mutable_device_data<float>(), gate_up.rows(), f);
        return y;
    }
    const float* px = gate_up.data<float>();
    float* py = y.mutable_data<float>();
    for_rows(gate_up.rows(), 2 * f, [=](int64_t row) {
        const float *gate = px + row * 2 * f, *up = gate + f;
        float* out = py + row * f;
        for_lanes(f, [&](int64_t i, auto n) {
            const vf g = load(gate + i, n);
            store(out + i, g * sigmoid(g) * load(up + i, n), n);
        });
    });
    return y;
}

Tensor silu_mul_backward(const Tensor& dy, const Tensor& gate_up) {
    if (f64::runs(gate_up)) return f64::silu_mul_backward(dy, gate_up);
    const Device device = gate_up.device();
    expect("silu_mul backward", "gate_up", gate_up, DType::f32, device);
    const int64_t f = gate_up.shape().last() / 2;
    expect("silu_mul backward", "dy", dy, gate_up.shape().with(-1, f), DType::f32, device);
    Tensor dx = Tensor::empty(gate_up.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(silu_mul_backward_body, device)(dy.device_data<float>(), gate_up.device_data<float>(),
                                           dx.mutable_device_data<float>(), gate_up.rows(), f);
        return dx;
    }
    const float *px = gate_up.data<float>(), *pdy = dy.data<float>();
    float* pdx = dx.mutable_data<float>();
    for_rows(gate_up.rows(), 2 * f, [=](int64_t row) {
        const float *gate = px + row * 2 * f, *up = gate + f, *d = pdy + row * f;
        float *d_gate = pdx + row * 2 * f, *d_up = d_gate + f;
        for_lanes(f, [&](int64_t i, auto n) {
            const vf g = load(gate + i, n), s = sigmoid(g), dv = load(d + i, n);
            store(d_up + i, dv * (g * s), n);
            store(d_gate + i, dv * load(up + i, n) * (s * fma(g, 1.0f - s, broadcast(1.0f))), n);
        });
    });
    return dx;
}

}  // namespace wavllm::kernels
