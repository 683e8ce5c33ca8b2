#include "kernels/segment_scale/segment_scale.h"

#include "kernels/common/check.h"
#include "kernels/common/column_sums_body.h"
#include "kernels/common/on_device.h"
#include "kernels/segment_scale/segment_scale_body.h"
#include "kernels/segment_scale/segment_scale_f64.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

Tensor segment_scale(const Tensor& x, const Tensor& r, const Tensor& borders) {
    if (f64::runs(x)) return f64::segment_scale(x, r, borders);
    const Device device = x.device();
    expect("segment_scale", "x", x, DType::f32, device);
    const auto b = borders_of("segment_scale", borders, x.rows());
    const int64_t n = x.shape().last();
    const int64_t segments = static_cast<int64_t>(b.size()) - 1;
    expect("segment_scale", "r", r, {segments, n}, DType::f32, device);
    Tensor y = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        const Tensor at = borders.mirror(device);
        on(segment_scale_body, device)(x.device_data<float>(), r.device_data<float>(), at.device_data<int64_t>(),
                                       y.mutable_device_data<float>(), x.rows(), n, segments);
        return y;
    }
    const float *px = x.data<float>(), *pr = r.data<float>();
    float* py = y.mutable_data<float>();
    for (size_t s = 0; s + 1 < b.size(); ++s)
        parallel_for(b[s + 1] - b[s], row_chunk(n), [&](int64_t begin, int64_t end) {
            for (int64_t t = b[s] + begin; t < b[s] + end; ++t)
                for (int64_t i = 0; i < n; ++i) py[t * n + i] = px[t * n + i] * pr[static_cast<int64_t>(s) * n + i];
        });
    return y;
}

void segment_scale_backward_r(const Tensor& dy, const Tensor& x, const Tensor& borders, Tensor& dr) {
    if (f64::runs(x)) return f64::segment_scale_backward_r(dy, x, borders, dr);
    const Device device = x.device();
    expect("segment_scale backward", "x", x, DType::f32, device);
    expect("segment_scale backward", "dy", dy, x.shape(), DType::f32, device);
    const auto b = borders_of("segment_scale backward", borders, x.rows());
    const int64_t n = x.shape().last();
    const int64_t segments = static_cast<int64_t>(b.size()) - 1;
    expect("segment_scale backward", "dr", dr, {segments, n}, DType::f32, device);
    if (device != Device::cpu) {
        const Tensor at = borders.mirror(device);
        return on(column_sums_body, device)(dy.device_data<float>(), x.device_data<float>(), at.device_data<int64_t>(),
                                            segments, x.rows(), n, dr.mutable_device_data<float>());
    }
    const float *px = x.data<float>(), *pdy = dy.data<float>();
    float* pdr = dr.mutable_data<float>();
    parallel_for(n, 64, [&](int64_t begin, int64_t end) {
        for (size_t s = 0; s + 1 < b.size(); ++s)
            for (int64_t t = b[s]; t < b[s + 1]; ++t)
                for (int64_t i = begin; i < end; ++i) {
                    float& sum = pdr[static_cast<int64_t>(s) * n + i];
                    sum = std::fma(pdy[t * n + i], px[t * n + i], sum);
                }
    });
}

}  // namespace wavllm::kernels
