#include "kernels/cross_entropy/cross_entropy.h"

#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/common/simd.h"
#include "kernels/cross_entropy/cross_entropy_body.h"
#include "kernels/cross_entropy/cross_entropy_f64.h"
#include "kernels/gemm/gemm_bf16.h"
#include "kernels/linear/linear.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

namespace {

constexpr int64_t kRowsAtOnce = 56;  // logits of SmolLM2 (49152 tokens): 11 MB
constexpr int64_t kLogitAlign = 32;  // a row of logits has room for its gradient in bf16, zeros up to a multiple of 32

void expect_targets(const Tensor& targets, int64_t rows, int64_t vocabulary) {
    expect("cross_entropy", "targets", targets, {rows}, DType::i32);
    const int32_t* t = targets.data<int32_t>();
    for (int64_t i = 0; i < rows; ++i)
        if (t[i] < 0 || t[i] >= vocabulary)
            throw Error("cross_entropy: target {} of row {} is outside the vocabulary of {}", t[i], i, vocabulary);
}

struct LogSum {
    float max, log_sum;  // log(sum of exp(z)) = max + log_sum
};

LogSum log_sum(const float* z, int64_t n) {
    vf top = broadcast(z[0]);
    for_lanes(n, [&](int64_t i, auto lanes) {
        if constexpr (std::is_same_v<decltype(lanes), int64_t>) {
            for (int64_t j = 0; j < lanes; ++j) top[j] = std::max(top[j], z[i + j]);
        } else {
            top = vmax(load(z + i), top);
        }
    });
    const float m = max(top);
    double total = 0;  // blocks in f32, their sum in double
    for (int64_t block = 0; block < n; block += 1024) {
        vf s{};
        for_lanes(std::min<int64_t>(1024, n - block), [&](int64_t i, auto lanes) {
            vf e = exp(load(z + block + i, lanes) - broadcast(m));
            if constexpr (std::is_same_v<decltype(lanes), int64_t>)
                for (int64_t j = lanes; j < kLanes; ++j) e[j] = 0;
            s += e;
        });
        total += sum(s);
    }
    return {m, static_cast<float>(std::log(total))};
}

/// z <- (softmax(z) - onehot(target)) * scale
void softmax_minus_onehot(float* out, const float* z, int64_t n, LogSum l, int32_t target, float scale) {
    const vf shift = broadcast(l.max), log_total = broadcast(l.log_sum);
    for_lanes(
        n, [&](int64_t i, auto lanes) { store(out + i, exp(load(z + i, lanes) - shift - log_total) * scale, lanes); });
    out[target] -= scale;
}

// On a device: so many that the head is read seldom. The logits of SmolLM2 then take 50 MB, most of which an L2 cache holds.
constexpr int64_t kDeviceRowsAtOnce = 256;

RowLosses on_device(const Tensor& x, const PackedWeight& head, const Tensor& targets, float scale, bool want_dx) {
    const Device device = x.device();
    const int64_t rows = x.rows(), d = x.shape().last();
    RowLosses result{Tensor::empty({rows}, DType::f32, device),
                     want_dx ? Tensor::empty(x.shape(), DType::f32, device) : Tensor()};
    auto* losses = result.losses.mutable_device_data<float>();
    const auto* t = targets.mirror(device).device_data<int32_t>();
    const Tensor all = x.reshape({rows, d});
    for (int64_t r0 = 0; r0 < rows; r0 += kDeviceRowsAtOnce) {
        PurposeScope scope(Purpose::workspace);
        const int64_t n = std::min(kDeviceRowsAtOnce, rows - r0);
        Tensor z = linear(all.slice(0, r0, r0 + n), head);
        auto* pz = z.mutable_device_data<float>();
        on(cross_entropy_rows_body, device)({pz, n, z.dim(1), z.dim(1), t + r0}, scale, losses + r0,
                                            want_dx ? pz : nullptr);
        if (!want_dx) continue;
        const Tensor dx = linear_backward_x(z, head);
        device_memory(device).copy(result.dx.mutable_device_data<float>() + r0 * d, dx.device_raw(), dx.bytes());
    }
    return result;
}

}  // namespace

RowLosses cross_entropy(const Tensor& x, const PackedWeight& head, const Tensor& targets, double factor, bool want_dx) {
    const bool in_f64 = head.dtype() == DType::f64;
    const auto scale = static_cast<float>(factor);
    expect("cross_entropy", "x", x, in_f64 ? DType::f64 : DType::f32, x.device());
    const int64_t rows = x.rows(), d = x.shape().last(), vocabulary = head.out_features();
    if (d != head.in_features())
        throw ShapeError("cross_entropy: head {} takes {} features, but x is {}", head.describe(), head.in_features(),
                         x.describe());
    expect_targets(targets, rows, vocabulary);
    if (in_f64) return f64::cross_entropy(x, head.stored(), targets.data<int32_t>(), factor, want_dx);
    if (x.device() != Device::cpu) return on_device(x, head, targets, scale, want_dx);
    RowLosses result{Tensor::empty({rows}), want_dx ? Tensor::empty(x.shape()) : Tensor()};
    const int64_t stride = (vocabulary + kLogitAlign - 1) / kLogitAlign * kLogitAlign;
    const bool in_bf16 = head.dtype() == DType::bf16;
    Tensor logits = workspace({std::min(rows, kRowsAtOnce), stride});
    float *z = logits.mutable_data<float>(), *losses = result.losses.mutable_data<float>();
    float* dx = want_dx ? result.dx.mutable_data<float>() : nullptr;
    const int32_t* t = targets.data<int32_t>();
    for (int64_t r0 = 0; r0 < rows; r0 += kRowsAtOnce) {
        const int64_t n = std::min(kRowsAtOnce, rows - r0);
        gemm(n, x.data<float>() + r0 * d, d, head.panels(), z, stride);
        parallel_for(n, 1, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) {
                float* row = z + i * stride;
                const LogSum l = log_sum(row, vocabulary);
                losses[r0 + i] = l.max - row[t[r0 + i]] + l.log_sum;
                if (!want_dx) continue;
                softmax_minus_onehot(row, row, vocabulary, l, t[r0 + i], scale);
                // the factor of the next product, written over what it is made of: it takes half the room
                if (in_bf16) pack_bf16_row(row, vocabulary, reinterpret_cast<bf16*>(row));
            }
        });
        if (want_dx && in_bf16)
            gemm_transposed_bf16(n, {reinterpret_cast<const bf16*>(z), 2 * stride}, head.panels(), dx + r0 * d, d);
        else if (want_dx)
            gemm_transposed(n, z, stride, head.panels(), dx + r0 * d, d);
    }
    return result;
}

Tensor cross_entropy_logits(const Tensor& logits, const Tensor& targets) {
    const Device device = logits.device();
    const bool in_f64 = f64::runs(logits);
    expect("cross_entropy", "logits", logits, in_f64 ? DType::f64 : DType::f32, device);
    const int64_t rows = logits.rows(), v = logits.shape().last();
    expect_targets(targets, rows, v);
    if (in_f64) return f64::cross_entropy_logits(logits, targets.data<int32_t>());
    Tensor losses = Tensor::empty({rows}, DType::f32, device);
    if (device != Device::cpu) {
        if (rows > 0)
            on(cross_entropy_rows_body, device)(
                {logits.device_data<float>(), rows, v, v, targets.mirror(device).device_data<int32_t>()}, 0.0f,
                losses.mutable_device_data<float>(), nullptr);
        return losses;
    }
    float* out = losses.mutable_data<float>();
    const float* z = logits.data<float>();
    const int32_t* t = targets.data<int32_t>();
    parallel_for(rows, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const LogSum l = log_sum(z + i * v, v);
            out[i] = l.max - z[i * v + t[i]] + l.log_sum;
        }
    });
    return losses;
}

Tensor cross_entropy_logits_backward(const Tensor& logits, const Tensor& targets, const Tensor& dlosses) {
    if (f64::runs(logits)) return f64::cross_entropy_logits_backward(logits, targets.data<int32_t>(), dlosses);
    const int64_t rows = logits.rows(), v = logits.shape().last();
    const Device device = logits.device();
    expect("cross_entropy backward", "dlosses", dlosses, {rows}, DType::f32, device);
    Tensor dlogits = Tensor::empty(logits.shape(), DType::f32, device);
    if (device != Device::cpu) {
        if (rows > 0)
            on(cross_entropy_backward_body, device)(
                {logits.device_data<float>(), rows, v, v, targets.mirror(device).device_data<int32_t>()},
                dlosses.device_data<float>(), dlogits.mutable_device_data<float>());
        return dlogits;
    }
    float* out = dlogits.mutable_data<float>();
    const float *z = logits.data<float>(), *dl = dlosses.data<float>();
    const int32_t* t = targets.data<int32_t>();
    parallel_for(rows, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
            softmax_minus_onehot(out + i * v, z + i * v, v, log_sum(z + i * v, v), t[i], dl[i]);
    });
    return dlogits;
}

}  // namespace wavllm::kernels
