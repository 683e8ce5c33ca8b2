#include "kernels/glu/glu.h"

#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/glu/glu_body.h"
#include "kernels/glu/glu_f64.h"

namespace wavllm::kernels {

Tensor glu(const Tensor& x) {
    if (f64::runs(x)) return f64::glu(x);
    const Device device = x.device();
    expect("glu", "x", x, DType::f32, device);
    if (x.rank() == 0 || x.shape().last() % 2 != 0)
        throw ShapeError("glu: x must have an even number of columns, but is {}", x.describe());
    const int64_t c = x.shape().last() / 2;
    Tensor y = Tensor::empty(x.shape().with(-1, c), DType::f32, device);
    if (device != Device::cpu) {
        on(glu_body, device)(x.device_data<float>(), y.mutable_device_data<float>(), x.rows(), c);
        return y;
    }
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    for_rows(x.rows(), 2 * c, [=](int64_t row) {
        const float *a = px + row * 2 * c, *b = a + c;
        float* out = py + row * c;
        for_lanes(c, [&](int64_t i, auto n) { store(out + i, load(a + i, n) * sigmoid(load(b + i, n)), n); });
    });
    return y;
}

Tensor glu_backward(const Tensor& dy, const Tensor& x) {
    if (f64::runs(x)) return f64::glu_backward(dy, x);
    const Device device = x.device();
    expect("glu backward", "x", x, DType::f32, device);
    const int64_t c = x.shape().last() / 2;
    expect("glu backward", "dy", dy, x.shape().with(-1, c), DType::f32, device);
    Tensor dx = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(glu_backward_body, device)(dy.device_data<float>(), x.device_data<float>(), dx.mutable_device_data<float>(),
                                      x.rows(), c);
        return dx;
    }
    const float *px = x.data<float>(), *pdy = dy.data<float>();
    float* pdx = dx.mutable_data<float>();
    for_rows(x.rows(), 2 * c, [=](int64_t row) {
        const float *a = px + row * 2 * c, *b = a + c, *d = pdy + row * c;
        float *da = pdx + row * 2 * c, *db = da + c;
        for_lanes(c, [&](int64_t i, auto n) {
            const vf s = sigmoid(load(b + i, n)), dv = load(d + i, n);
            store(da + i, dv * s, n);
            store(db + i, dv * load(a + i, n) * (s * (1.0f - s)), n);
        });
    });
    return dx;
}

}  // namespace wavllm::kernels
