#include "kernels/softmax/softmax.h"

#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/softmax/softmax_body.h"
#include "kernels/softmax/softmax_f64.h"

namespace wavllm::kernels {

namespace {

/// v with `fill` in the lanes past the end of the row.
template <class Lanes>
WAVLLM_INLINE vf past_end(vf v, float fill, Lanes n) {
    if constexpr (std::is_same_v<Lanes, int64_t>)
        for (int64_t i = n; i < kLanes; ++i) v[i] = fill;
    return v;
}

}  // namespace

Tensor softmax(const Tensor& x) {
    if (f64::runs(x)) return f64::softmax(x);
    const Device device = x.device();
    expect("softmax", "x", x, DType::f32, device);
    const int64_t c = x.shape().last();
    if (c == 0) throw ShapeError("softmax: x has no columns: {}", x.describe());
    Tensor y = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(softmax_body, device)(x.device_data<float>(), y.mutable_device_data<float>(), x.rows(), c);
        return y;
    }
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    for_rows(x.rows(), c, [=](int64_t row) {
        const float* xr = px + row * c;
        float* yr = py + row * c;
        const float lowest = -__builtin_inff();
        vf largest = broadcast(lowest);
        for_lanes(c, [&](int64_t i, auto n) { largest = vmax(past_end(load(xr + i, n), lowest, n), largest); });
        const vf m = broadcast(max(largest));
        vf total{};
        for_lanes(c, [&](int64_t i, auto n) {
            const vf e = past_end(exp(load(xr + i, n) - m), 0.0f, n);
            total += e;
            store(yr + i, e, n);
        });
        const vf inverse = broadcast(1.0f / sum(total));
        for_lanes(c, [&](int64_t i, auto n) { store(yr + i, load(yr + i, n) * inverse, n); });
    });
    return y;
}

Tensor softmax_backward(const Tensor& dy, const Tensor& y) {
    if (f64::runs(y)) return f64::softmax_backward(dy, y);
    const Device device = y.device();
    expect("softmax backward", "y", y, DType::f32, device);
    expect("softmax backward", "dy", dy, y.shape(), DType::f32, device);
    const int64_t c = y.shape().last();
    Tensor dx = Tensor::empty(y.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(softmax_backward_body, device)(dy.device_data<float>(), y.device_data<float>(),
                                          dx.mutable_device_data<float>(), y.rows(), c);
        return dx;
    }
    const float *py = y.data<float>(), *pdy = dy.data<float>();
    float* pdx = dx.mutable_data<float>();
    for_rows(y.rows(), c, [=](int64_t row) {
        const float *yr = py + row * c, *dyr = pdy + row * c;
        float* dxr = pdx + row * c;
        vf products{};
        for_lanes(c, [&](int64_t i, auto n) { products = fma(load(yr + i, n), load(dyr + i, n), products); });
        const vf mean = broadcast(sum(products));
        for_lanes(c, [&](int64_t i, auto n) { store(dxr + i, load(yr + i, n) * (load(dyr + i, n) - mean), n); });
    });
    return dx;
}

}  // namespace wavllm::kernels
