#include "kernels/linear/linear.h"

#include <array>

#include "kernels/cast/cast_body.h"
#include "kernels/common/check.h"
#include "kernels/common/column_sums_body.h"
#include "kernels/common/on_device.h"
#include "kernels/gemm/gemm_blocks.h"
#include "kernels/gemm/gemm_device.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

namespace {

/// weight: what the panels were made of, for the error message.
template <class Weight>
Tensor run(const Tensor& x, const Panels& w, const Weight& weight, const Tensor& bias) {
    expect("linear", "x", x);
    if (x.shape().last() != w.k)
        throw ShapeError("linear: weight {} takes {} features, but x is {}", weight.describe(), w.k, x.describe());
    if (bias.defined()) expect("linear", "bias", bias, {w.n});
    Tensor y = Tensor::empty(x.shape().with(-1, w.n));
    gemm(x.rows(), x.data<float>(), w.k, w, y.mutable_data<float>(), w.n,
         {.bias = bias.defined() ? bias.data<float>() : nullptr});
    return y;
}

/// The same on x's device. rows: of the weight, along.
template <class Weight>
Tensor run_on_device(const Tensor& x, const Lines& rows, int64_t n, int64_t k, DType products, const Weight& weight,
                     const Tensor& bias) {
    const Device device = x.device();
    expect("linear", "x", x, DType::f32, device);
    if (x.shape().last() != k)
        throw ShapeError("linear: weight {} takes {} features, but x is {}", weight.describe(), k, x.describe());
    if (bias.defined()) expect("linear", "bias", bias, {n}, DType::f32, device);
    Tensor y = Tensor::empty(x.shape().with(-1, n), DType::f32, device);
    device_gemm(device,
                {.m = x.rows(),
                 .n = n,
                 .k = k,
                 .a = along(x.device_data<float>(), k),
                 .b = rows,
                 .c = y.mutable_device_data<float>(),
                 .c_stride = n,
                 .bias = bias.defined() ? bias.device_data<float>() : nullptr},
                products);
    return y;
}

/// w in f32 on its device: itself, or widened into workspace.
Tensor in_f32(const Tensor& w) {
    if (w.dtype() == DType::f32) return w;
    if (!info(w.dtype()).floating || w.dtype() == DType::f64)
        throw DTypeError("linear: weight must be f32, bf16, f16, q4_1 or q8_0 on {}, but is {}", name(w.device()),
                         w.describe());
    Tensor f = workspace(w.shape(), w.device());
    on(cast_body, w.device())(w.device_raw(), w.dtype(), f.mutable_device_raw(), DType::f32, w.numel());
    return f;
}

void expect_device(const PackedWeight& w, const Tensor& x, std::string_view argument) {
    if (w.device() == x.device()) return;
    throw Error("linear: weight {} is on {}, but {} is {}; pack the weight for that device", w.describe(),
                name(w.device()), argument, x.describe());
}

Tensor backward_x_on_device(const Tensor& dy, Lines rows, int64_t n, int64_t k, DType products) {
    const Device device = dy.device();
    expect("linear backward", "dy", dy, DType::f32, device);
    Tensor dx = Tensor::empty(dy.shape().with(-1, k), DType::f32, device);
    rows.across = true;
    device_gemm(device,
                {.m = dy.rows(),
                 .n = k,
                 .k = n,
                 .a = along(dy.device_data<float>(), n),
                 .b = rows,
                 .c = dx.mutable_device_data<float>(),
                 .c_stride = k},
                products);
    return dx;
}

}  // namespace

Tensor linear(const Tensor& x, const PackedWeight& w, const Tensor& bias) {
    expect_device(w, x, "x");
    if (x.device() != Device::cpu)
        return run_on_device(x, w.lines(), w.out_features(), w.in_features(), w.dtype(), w, bias);
    return run(x, w.panels(), w, bias);
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
    if (w.rank() != 2 || !w.contiguous())
        throw ShapeError("linear: weight must be a contiguous [N, K], but is {}", w.describe());
    if (x.device() != Device::cpu) {
        expect("linear", "weight", w, w.dtype(), x.device());
        const Tensor f = in_f32(w);
        return run_on_device(x, along(f.device_data<float>(), w.dim(1)), w.dim(0), w.dim(1), DType::f32, w, bias);
    }
    Tensor panels = workspace({panel_elements(w.dim(1), w.dim(0))});
    const Panels packed =
        w.dtype() == DType::f32
            ? pack_rows(w.data<float>(), w.dim(1), w.dim(1), w.dim(0), panels.mutable_data<float>())
            : pack_weight(w.dtype(), w.raw(), w.dim(1), w.dim(0), DType::f32, panels.mutable_data<float>());
    return run(x, packed, w, bias);
}

void linear_together(const Tensor& x, std::span<const PackedWeight* const> w, std::span<Tensor> y) {
    expect("linear", "x", x, DType::f32, x.device());
    constexpr size_t kMost = 8;
    if (w.empty() || w.size() > kMost || y.size() != w.size())
        throw ShapeError("linear: {} weights and {} results; at most {}, and as many of both", w.size(), y.size(),
                         kMost);
    bool together = x.rows() <= kBlockTileRows && x.device() == Device::cpu;
    for (const PackedWeight* p : w)
        together = together && in_blocks(p->storage()) && p->in_features() == x.shape().last();
    if (together) {
        Tensor memory = bf16_workspace(x.rows(), x.shape().last());
        const Bf16Rows rows = pack_bf16_rows(x.rows(), x.data<float>(), x.shape().last(), x.shape().last(), memory);
        std::array<BlockProduct, kMost> products;
        for (size_t i = 0; i < w.size(); ++i) {
            y[i] = Tensor::empty(x.shape().with(-1, w[i]->out_features()));
            products[i] = {w[i]->panels(), y[i].mutable_data<float>(), w[i]->out_features()};
        }
        if (gemm_blocks_together(x.rows(), rows, {products.data(), w.size()})) return;
    }
    for (size_t i = 0; i < w.size(); ++i) y[i] = linear(x, *w[i]);
}

Tensor linear_backward_x(const Tensor& dy, const PackedWeight& w) {
    expect_device(w, dy, "dy");
    if (dy.device() != Device::cpu)
        return backward_x_on_device(dy, w.lines(), w.out_features(), w.in_features(), w.dtype());
    expect("linear backward", "dy", dy);
    Tensor dx = Tensor::empty(dy.shape().with(-1, w.in_features()));
    gemm_transposed(dy.rows(), dy.data<float>(), w.out_features(), w.panels(), dx.mutable_data<float>(),
                    w.in_features());
    return dx;
}

Tensor linear_backward_x(const Tensor& dy, const Tensor& w) {
    if (dy.device() != Device::cpu) {
        expect("linear backward", "weight", w, w.dtype(), dy.device());
        const Tensor f = in_f32(w);
        return backward_x_on_device(dy, along(f.device_data<float>(), w.dim(1)), w.dim(0), w.dim(1), DType::f32);
    }
    expect("linear backward", "dy", dy);
    if (w.dtype() != DType::f32) return linear_backward_x(dy, w.to(DType::f32));
    const int64_t n = w.dim(0), k = w.dim(1);
    Tensor dx = Tensor::empty(dy.shape().with(-1, k)), panels = workspace({panel_elements(n, k)});
    gemm(dy.rows(), dy.data<float>(), n, pack_columns(w.data<float>(), k, n, k, panels.mutable_data<float>()),
         dx.mutable_data<float>(), k);
    return dx;
}

void linear_backward_w(const Tensor& dy, const Tensor& x, Tensor& dw) {
    const int64_t rows = x.rows(), n = dy.shape().last(), k = x.shape().last();
    const Device device = x.device();
    expect("linear backward", "dy", dy, DType::f32, device);
    expect("linear backward", "x", x, DType::f32, device);
    expect("linear backward", "dw", dw, {n, k}, DType::f32, device);
    if (rows == 0) return;
    if (device != Device::cpu)
        return device_gemm(device, {.m = n,
                                    .n = k,
                                    .k = rows,
                                    .a = across(dy.device_data<float>(), n),
                                    .b = across(x.device_data<float>(), k),
                                    .c = dw.mutable_device_data<float>(),
                                    .c_stride = k,
                                    .accumulate = true});
    Tensor left = workspace({n, rows}), panels = workspace({panel_elements(rows, k)});
    transpose(dy.data<float>(), rows, n, left.mutable_data<float>());
    gemm(n, left.data<float>(), rows, pack_columns(x.data<float>(), k, rows, k, panels.mutable_data<float>()),
         dw.mutable_data<float>(), k, {.accumulate = true});
}

void linear_backward_bias(const Tensor& dy, Tensor& db) {
    const int64_t n = dy.shape().last(), rows = dy.rows();
    const Device device = dy.device();
    expect("linear backward", "db", db, {n}, DType::f32, device);
    if (device != Device::cpu)
        return on(column_sums_body, device)(dy.device_data<float>(), nullptr, nullptr, 1, rows, n,
                                            db.mutable_device_data<float>());
    const float* pdy = dy.data<float>();
    float* p = db.mutable_data<float>();
    parallel_for(n, 64, [&](int64_t begin, int64_t end) {
        for (int64_t row = 0; row < rows; ++row)
            for (int64_t i = begin; i < end; ++i) p[i] += pdy[row * n + i];
    });
}

void transpose(const float* in, int64_t rows, int64_t columns, float* out) {
    constexpr int64_t kTile = 16;  // a cache line each way
    parallel_for((columns + kTile - 1) / kTile, std::max<int64_t>(1, 65536 / (kTile * std::max<int64_t>(rows, 1))),
                 [&](int64_t begin, int64_t end) {
                     for (int64_t c0 = begin * kTile; c0 < std::min(columns, end * kTile); c0 += kTile)
                         for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
                             const int64_t c1 = std::min(columns, c0 + kTile), r1 = std::min(rows, r0 + kTile);
                             for (int64_t c = c0; c < c1; ++c)
                                 for (int64_t r = r0; r < r1; ++r) out[c * rows + r] = in[r * columns + c];
                         }
                 });
}

}  // namespace wavllm::kernels
