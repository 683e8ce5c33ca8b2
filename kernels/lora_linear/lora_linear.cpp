#include "kernels/lora_linear/lora_linear.h"

#include "kernels/common/check.h"
#include "kernels/linear/linear.h"
#include "kernels/lora_linear/lora_bf16.h"
#include "kernels/lora_linear/lora_device.h"
#include "kernels/lora_linear/lora_linear_f64.h"
#include "kernels/segment_scale/segment_scale.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

bool drops(const DropoutKey* drop) {
    return drop && drop->p > 0;
}

Tensor dropped(const Tensor& x, const DropoutKey* drop) {
    if (!drops(drop)) return x;
    Tensor y = workspace(x.shape());
    const int64_t k = x.shape().last();
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    parallel_for(x.rows(), row_chunk(k), [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) dropout_row(*drop, t, px + t * k, py + t * k, k);
    });
    return y;
}

namespace {

/// y += (u B) * scale, request by request where each has its own vector.
void add_update(const Tensor& u, const Tensor& b, const LoraScale& scale, Tensor& y) {
    const int64_t rank = b.dim(0), n = b.dim(1);
    Tensor panels = workspace({panel_elements(rank, n)});
    const Panels right = pack_columns(b.data<float>(), n, rank, n, panels.mutable_data<float>());
    const float* pu = u.data<float>();
    float* py = y.mutable_data<float>();
    if (!scale.r.defined())
        return gemm(u.rows(), pu, rank, right, py, n, {.add_scaled = true, .scale = static_cast<float>(scale.s)});
    const auto borders = borders_of("lora_linear", scale.borders, u.rows());
    for (size_t s = 0; s + 1 < borders.size(); ++s)
        gemm(borders[s + 1] - borders[s], pu + borders[s] * rank, rank, right, py + borders[s] * n, n,
             {.add_scaled = true, .column_scale = scale.r.data<float>() + static_cast<int64_t>(s) * n});
}

/// [M, K] x [K, N] for small N, dense.
Tensor product(const Tensor& left, const Tensor& right) {
    const int64_t k = right.dim(0), n = right.dim(1);
    Tensor result = Tensor::empty({left.rows(), n}), panels = workspace({panel_elements(k, n)});
    gemm(left.rows(), left.data<float>(), k, pack_columns(right.data<float>(), n, k, n, panels.mutable_data<float>()),
         result.mutable_data<float>(), n);
    return result;
}

/// sum [K, N] += left^T right for left [T, K], right [T, N], in row order.
void add_transposed_product(const Tensor& left, const Tensor& right, Tensor& sum) {
    const int64_t rows = left.rows(), k = left.shape().last(), n = right.shape().last();
    if (rows == 0) return;
    Tensor turned = workspace({k, rows}), panels = workspace({panel_elements(rows, n)});
    transpose(left.data<float>(), rows, k, turned.mutable_data<float>());
    gemm(k, turned.data<float>(), rows, pack_columns(right.data<float>(), n, rows, n, panels.mutable_data<float>()),
         sum.mutable_data<float>(), n, {.accumulate = true});
}

void scale_in_place(Tensor& t, float s) {
    float* p = t.mutable_data<float>();
    for (int64_t i = 0; i < t.numel(); ++i) p[i] *= s;
}

void check(const Tensor& x, const PackedWeight& w, const Tensor& a, const Tensor& b, const LoraScale& scale) {
    const Device device = x.device();
    expect("lora_linear", "x", x, DType::f32, device);
    if (w.device() != device)
        throw Error("lora_linear: weight {} is on {}, but x is {}; pack the weight for that device", w.describe(),
                    name(w.device()), x.describe());
    if (x.rank() != 2 || x.dim(1) != w.in_features())
        throw ShapeError("lora_linear: weight {} takes {} features, but x is {}", w.describe(), w.in_features(),
                         x.describe());
    expect("lora_linear", "lora_a", a, DType::f32, device);
    if (a.rank() != 2 || a.dim(0) != w.in_features())
        throw ShapeError("lora_linear: lora_a must be [{}, rank], but is {}", w.in_features(), a.describe());
    expect("lora_linear", "lora_b", b, {a.dim(1), w.out_features()}, DType::f32, device);
    if (!scale.r.defined()) return;
    expect("lora_linear", "r", scale.r, {scale.borders.numel() - 1, w.out_features()}, DType::f32, device);
}

}  // namespace

LoraForward lora_linear(const Tensor& x, const PackedWeight& w, const Tensor& a, const Tensor& b,
                        const LoraScale& scale, const DropoutKey* drop) {
    if (w.dtype() == DType::f64) return f64::lora_linear(x, w.stored(), a, b, scale, drop);
    check(x, w, a, b, scale);
    if (drops(drop)) expect_dropout_key("lora_linear", *drop, x.rows(), x.dim(1));
    if (x.device() != Device::cpu) return lora_linear_device(x, w, a, b, scale, drop);
    if (w.dtype() == DType::bf16) return lora_linear_bf16(x, w, a, b, scale, drop);
    LoraForward result;
    result.u = product(dropped(x, drop), a);
    result.y = linear(x, w);
    add_update(result.u, b, scale, result.y);
    return result;
}

void lora_linear_backward(const Tensor& dy, const Tensor& x, const Tensor& u, const PackedWeight& w, const Tensor& a,
                          const Tensor& b, const LoraScale& scale, const DropoutKey* drop, const LoraGradients& out) {
    if (w.dtype() == DType::f64) return f64::lora_linear_backward(dy, x, u, w.stored(), a, b, scale, drop, out);
    check(x, w, a, b, scale);
    expect("lora_linear backward", "dy", dy, {x.dim(0), w.out_features()}, DType::f32, x.device());
    if (x.device() != Device::cpu) return lora_linear_backward_device(dy, x, u, w, a, b, scale, drop, out);
    if (w.dtype() == DType::bf16) return lora_linear_backward_bf16(dy, x, u, w, a, b, scale, drop, out);
    const int64_t k = a.dim(0), rank = a.dim(1), n = b.dim(1), rows = x.dim(0);
    if (out.dr) segment_scale_backward_r(dy, product(u, b), scale.borders, *out.dr);
    const Tensor scaled =
        scale.r.defined() ? segment_scale(dy, scale.r, scale.borders) : dy;  // d(uB), a number s comes later
    const float s = scale.r.defined() ? 1.0f : static_cast<float>(scale.s);
    if (out.db) {
        Tensor su = u;
        if (s != 1.0f) {
            su = u.clone();
            scale_in_place(su, s);
        }
        add_transposed_product(su, scaled, *out.db);
    }
    if (!out.dx && !out.da) return;
    Tensor du = workspace({rows, rank}), panels = workspace({panel_elements(n, rank)});
    gemm(rows, scaled.data<float>(), n, pack_rows(b.data<float>(), n, n, rank, panels.mutable_data<float>()),
         du.mutable_data<float>(), rank);
    if (s != 1.0f) scale_in_place(du, s);
    if (out.da) add_transposed_product(dropped(x, drop), du, *out.da);
    if (!out.dx) return;
    *out.dx = linear_backward_x(dy, w);
    Tensor a_panels = workspace({panel_elements(rank, k)});
    const Panels at = pack_rows(a.data<float>(), rank, rank, k, a_panels.mutable_data<float>());
    float* dx = out.dx->mutable_data<float>();
    if (!drops(drop)) return gemm(rows, du.data<float>(), rank, at, dx, k, {.add_scaled = true});
    Tensor branch = workspace({rows, k});
    float* pb = branch.mutable_data<float>();
    gemm(rows, du.data<float>(), rank, at, pb, k);
    parallel_for(rows, row_chunk(k), [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
            float* row = pb + t * k;
            dropout_row(*drop, t, row, row, k);
            for (int64_t i = 0; i < k; ++i) dx[t * k + i] += row[i];
        }
    });
}

}  // namespace wavllm::kernels
