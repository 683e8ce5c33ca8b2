#include "kernels/columns/columns.h"

#include "kernels/columns/columns_body.h"
#include "kernels/columns/columns_f64.h"
#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"

namespace wavllm::kernels {

Tensor slice_columns(const Tensor& x, int64_t begin, int64_t end) {
    if (f64::runs(x)) return f64::slice_columns(x, begin, end);
    const Device device = x.device();
    expect("slice_columns", "x", x, DType::f32, device);
    const int64_t c = x.shape().last(), d = end - begin;
    if (x.rank() == 0 || begin < 0 || end < begin || end > c)
        throw ShapeError("slice_columns: columns [{}, {}) of x, which is {}", begin, end, x.describe());
    Tensor y = Tensor::empty(x.shape().with(-1, d), DType::f32, device);
    if (device != Device::cpu) {
        on(slice_columns_body, device)(x.device_data<float>() + begin, y.mutable_device_data<float>(), x.rows(), c, d);
        return y;
    }
    const float* px = x.data<float>() + begin;
    float* py = y.mutable_data<float>();
    const size_t bytes = static_cast<size_t>(d) * sizeof(float);
    for_rows(x.rows(), d, [=](int64_t row) { std::memcpy(py + row * d, px + row * c, bytes); });
    return y;
}

void slice_columns_backward(const Tensor& dy, int64_t begin, Tensor& dx) {
    if (f64::runs(dx)) return f64::slice_columns_backward(dy, begin, dx);
    const Device device = dx.device();
    expect("slice_columns backward", "dx", dx, DType::f32, device);
    const int64_t c = dx.shape().last(), d = dy.shape().last();
    if (begin < 0 || begin + d > c)
        throw ShapeError("slice_columns backward: columns [{}, {}) of dx, which is {}", begin, begin + d,
                         dx.describe());
    expect("slice_columns backward", "dy", dy, dx.shape().with(-1, d), DType::f32, device);
    if (device != Device::cpu)
        return on(slice_columns_backward_body, device)(dy.device_data<float>(), dx.mutable_device_data<float>() + begin,
                                                       dx.rows(), c, d);
    const float* pdy = dy.data<float>();
    float* pdx = dx.mutable_data<float>() + begin;
    for_rows(dx.rows(), d, [=](int64_t row) {
        for (int64_t i = 0; i < d; ++i) pdx[row * c + i] += pdy[row * d + i];
    });
}

Tensor concat_columns(const Tensor& a, const Tensor& b) {
    if (f64::runs(a)) return f64::concat_columns(a, b);
    const Device device = a.device();
    expect("concat_columns", "a", a, DType::f32, device);
    const int64_t ca = a.shape().last(), cb = b.shape().last(), c = ca + cb;
    if (a.rank() == 0) throw ShapeError("concat_columns: a must have columns, but is {}", a.describe());
    expect("concat_columns", "b", b, a.shape().with(-1, cb), DType::f32, device);
    Tensor y = Tensor::empty(a.shape().with(-1, c), DType::f32, device);
    if (device != Device::cpu) {
        on(concat_columns_body, device)(a.device_data<float>(), b.device_data<float>(), y.mutable_device_data<float>(),
                                        y.rows(), ca, cb);
        return y;
    }
    const float *pa = a.data<float>(), *pb = b.data<float>();
    float* py = y.mutable_data<float>();
    for_rows(y.rows(), c, [=](int64_t row) {
        std::memcpy(py + row * c, pa + row * ca, static_cast<size_t>(ca) * sizeof(float));
        std::memcpy(py + row * c + ca, pb + row * cb, static_cast<size_t>(cb) * sizeof(float));
    });
    return y;
}

}  // namespace wavllm::kernels
