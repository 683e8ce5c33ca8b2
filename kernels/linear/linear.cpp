#include "kernels/linear/linear.h"

#include <array>

#include "kernels/common/check.h"
#include "kernels/gemm/gemm_blocks.h"
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

}  // namespace

Tensor linear(const Tensor& x, const PackedWeight& w, const Tensor& bias) {
    return run(x, w.panels(), w, bias);
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
    if (w.rank() != 2 || !w.contiguous())
        throw ShapeError("linear: weight must be a contiguous [N, K], but is {}", w.describe());
    Tensor panels = workspace({panel_elements(w.dim(1), w.dim(0))});
    const Panels packed =
        w.dtype() == DType::f32
            ? pack_rows(w.data<float>(), w.dim(1), w.dim(1), w.dim(0), panels.mutable_data<float>())
            : pack_weight(w.dtype(), w.raw(), w.dim(1), w.dim(0), DType::f32, panels.mutable_data<float>());
    return run(x, packed, w, bias);
}

void linear_together(const Tensor& x, std::span<const PackedWeight* const> w, std::span<Tensor> y) {
    expect("linear", "x", x);
    constexpr size_t kMost = 8;
    if (w.empty() || w.size() > kMost || y.size() != w.size())
        throw ShapeError("linear: {} weights and {} results; at most {}, and as many of both", w.size(), y.size(),
                         kMost);
    bool together = x.rows() <= kBlockTileRows;
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
    expect("linear backward", "dy", dy);
    Tensor dx = Tensor::empty(dy.shape().with(-1, w.in_features()));
    gemm_transposed(dy.rows(), dy.data<float>(), w.out_features(), w.panels(), dx.mutable_data<float>(),
                    w.in_features());
    return dx;
}

Tensor linear_backward_x(const Tensor& dy, const Tensor& w) {
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
    expect("linear backward", "dy", dy);
    expect("linear backward", "x", x);
    expect("linear backward", "dw", dw, {n, k});
    if (rows == 0) return;
    Tensor left = workspace({n, rows}), panels = workspace({panel_elements(rows, k)});
    transpose(dy.data<float>(), rows, n, left.mutable_data<float>());
    gemm(n, left.data<float>(), rows, pack_columns(x.data<float>(), k, rows, k, panels.mutable_data<float>()),
         dw.mutable_data<float>(), k, {.accumulate = true});
}

void linear_backward_bias(const Tensor& dy, Tensor& db) {
    const int64_t n = dy.shape().last(), rows = dy.rows();
    expect("linear backward", "db", db, {n});
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
