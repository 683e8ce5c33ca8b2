#include "kernels/attention_pool/attention_pool.h"

#include "kernels/attention_pool/attention_pool_body.h"
#include "kernels/attention_pool/attention_pool_f64.h"
#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"

namespace wavllm::kernels {

namespace {

/// Softmax of the scores of one sequence.
void softmax_row(const float* scores, int64_t n, float* weights) {
    float largest = -__builtin_inff();
    for (int64_t t = 0; t < n; ++t) largest = std::max(largest, scores[t]);
    double total = 0;
    for_lanes(n, [&](int64_t t, auto lanes) {
        store(weights + t, exp(load(scores + t, lanes) - largest), lanes);
        for (int64_t i = 0; i < lanes; ++i) total += weights[t + i];
    });
    const vf inverse = broadcast(static_cast<float>(1 / total));
    for_lanes(n, [&](int64_t t, auto lanes) { store(weights + t, load(weights + t, lanes) * inverse, lanes); });
}

float dot(const float* a, const float* b, int64_t n) {
    vf sums{};
    for_lanes(n, [&](int64_t i, auto lanes) { sums = fma(load(a + i, lanes), load(b + i, lanes), sums); });
    return sum(sums);
}

}  // namespace

AttentionPool attention_pool(const Tensor& x, const Tensor& scores, const Tensor& borders) {
    if (f64::runs(x)) return f64::attention_pool(x, scores, borders);
    const Device device = x.device();
    expect("attention_pool", "x", x, DType::f32, device);
    expect("attention_pool", "scores", scores, DType::f32, device);
    if (x.rank() != 2) throw ShapeError("attention_pool: x must be [T, C], but is {}", x.describe());
    const int64_t rows = x.dim(0), channels = x.dim(1);
    if (scores.numel() != rows || scores.dim(0) != rows)
        throw ShapeError("attention_pool: scores must be [{}, 1] or [{}], one a row of x, but are {}", rows, rows,
                         scores.describe());
    const auto b = borders_of("attention_pool", borders, rows);
    const auto sequences = static_cast<int64_t>(b.size()) - 1;
    AttentionPool result{Tensor::zeros({sequences, channels}, DType::f32, device),
                         Tensor::empty({rows}, DType::f32, device)};
    if (device != Device::cpu) {
        on(attention_pool_body, device)(x.device_data<float>(), scores.device_data<float>(),
                                        borders.mirror(device).device_data<int64_t>(),
                                        result.weights.mutable_device_data<float>(),
                                        result.y.mutable_device_data<float>(), rows, sequences, channels);
        return result;
    }
    const float *px = x.data<float>(), *ps = scores.data<float>();
    float *pw = result.weights.mutable_data<float>(), *py = result.y.mutable_data<float>();
    for (size_t s = 0; s + 1 < b.size(); ++s) {
        softmax_row(ps + b[s], b[s + 1] - b[s], pw + b[s]);
        float* ys = py + static_cast<int64_t>(s) * channels;
        for_column_slices(channels, [&](int64_t first, int64_t last) {
            for (int64_t t = b[s]; t < b[s + 1]; ++t)
                for (int64_t c = first; c < last; ++c) ys[c] = std::fma(pw[t], px[t * channels + c], ys[c]);
        });
    }
    return result;
}

Tensor attention_pool_backward_x(const Tensor& dy, const Tensor& weights, const Tensor& borders) {
    if (f64::runs(dy)) return f64::attention_pool_backward_x(dy, weights, borders);
    const Device device = dy.device();
    expect("attention_pool backward", "dy", dy, DType::f32, device);
    expect("attention_pool backward", "weights", weights, DType::f32, device);
    const int64_t rows = weights.numel(), channels = dy.shape().last();
    const auto b = borders_of("attention_pool backward", borders, rows);
    const auto sequences = static_cast<int64_t>(b.size()) - 1;
    expect("attention_pool backward", "dy", dy, {sequences, channels}, DType::f32, device);
    Tensor dx = Tensor::empty({rows, channels}, DType::f32, device);
    if (device != Device::cpu) {
        on(attention_pool_backward_x_body, device)(dy.device_data<float>(), weights.device_data<float>(),
                                                   borders.mirror(device).device_data<int64_t>(),
                                                   dx.mutable_device_data<float>(), rows, sequences, channels);
        return dx;
    }
    const float *pdy = dy.data<float>(), *pw = weights.data<float>();
    float* pdx = dx.mutable_data<float>();
    for (size_t s = 0; s + 1 < b.size(); ++s)
        for_rows(b[s + 1] - b[s], channels, [=](int64_t row) {
            const int64_t t = b[s] + row;
            const float* dys = pdy + static_cast<int64_t>(s) * channels;
            const vf weight = broadcast(pw[t]);
            for_lanes(channels,
                      [&](int64_t c, auto n) { store(pdx + t * channels + c, weight * load(dys + c, n), n); });
        });
    return dx;
}

Tensor attention_pool_backward_scores(const Tensor& dy, const Tensor& x, const Tensor& weights, const Tensor& borders) {
    if (f64::runs(x)) return f64::attention_pool_backward_scores(dy, x, weights, borders);
    const Device device = x.device();
    expect("attention_pool backward", "x", x, DType::f32, device);
    const int64_t rows = x.dim(0), channels = x.dim(1);
    const auto b = borders_of("attention_pool backward", borders, rows);
    const auto sequences = static_cast<int64_t>(b.size()) - 1;
    expect("attention_pool backward", "dy", dy, {sequences, channels}, DType::f32, device);
    expect("attention_pool backward", "weights", weights, {rows}, DType::f32, device);
    Tensor dscores = Tensor::empty({rows}, DType::f32, device);
    if (device != Device::cpu) {
        on(attention_pool_backward_scores_body, device)(
            dy.device_data<float>(), x.device_data<float>(), weights.device_data<float>(),
            borders.mirror(device).device_data<int64_t>(), dscores.mutable_device_data<float>(), rows, sequences,
            channels);
        return dscores;
    }
    const float *pdy = dy.data<float>(), *px = x.data<float>(), *pw = weights.data<float>();
    float* pds = dscores.mutable_data<float>();
    for (size_t s = 0; s + 1 < b.size(); ++s) {
        for_rows(b[s + 1] - b[s], channels, [=](int64_t row) {
            const int64_t t = b[s] + row;
            pds[t] = dot(pdy + static_cast<int64_t>(s) * channels, px + t * channels, channels);
        });
        double mean = 0;
        for (int64_t t = b[s]; t < b[s + 1]; ++t) mean += static_cast<double>(pw[t]) * pds[t];
        for (int64_t t = b[s]; t < b[s + 1]; ++t) pds[t] = pw[t] * (pds[t] - static_cast<float>(mean));
    }
    return dscores;
}

}  // namespace wavllm::kernels
