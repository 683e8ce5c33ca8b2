#include "kernels/lora_linear/lora_bf16.h"

#include "kernels/common/check.h"
#include "kernels/gemm/gemm_bf16.h"
#include "kernels/linear/linear.h"
#include "kernels/segment_scale/segment_scale.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

namespace {

/// Calls f(row, masked row as f32) for all rows of x, on the thread pool.
template <class F>
void each_masked_row(const Tensor& x, const DropoutKey& drop, F&& f) {
    const int64_t rows = x.rows(), k = x.shape().last(), chunk = row_chunk(k);
    Tensor scratch = workspace({(rows + chunk - 1) / chunk, k});
    const float* px = x.data<float>();
    float* ps = scratch.mutable_data<float>();
    parallel_for(rows, chunk, [&](int64_t begin, int64_t end) {
        float* row = ps + begin / chunk * k;
        for (int64_t t = begin; t < end; ++t) {
            dropout_row(drop, t, px + t * k, row, k);
            f(t, row);
        }
    });
}

Bf16Rows pack_masked(const Tensor& x, const DropoutKey& drop, Tensor& memory) {
    const int64_t k = x.shape().last(), stride = bf16_stride(k);
    auto* out = static_cast<bf16*>(memory.mutable_raw());
    each_masked_row(x, drop, [&](int64_t t, const float* row) { pack_bf16_row(row, k, out + t * stride); });
    return {out, stride};
}

Bf16Rows pack(const Tensor& x, Tensor& memory) {
    const int64_t k = x.shape().last();
    return pack_bf16_rows(x.rows(), x.data<float>(), k, k, memory);
}

Tensor scaled_by(const Tensor& t, float s) {
    if (s == 1.0f) return t;
    Tensor y = workspace(t.shape());
    const float* from = t.data<float>();
    float* to = y.mutable_data<float>();
    for (int64_t i = 0; i < t.numel(); ++i) to[i] = from[i] * s;
    return y;
}

/// da [K, rank] += masked^T du; the sum is made as its transpose, whose left factor is the small one.
void add_da(const Tensor& masked, const Tensor& du, Tensor& da) {
    const int64_t k = da.dim(0), rank = da.dim(1);
    Tensor turned = workspace({rank, k});
    transpose(da.data<float>(), k, rank, turned.mutable_data<float>());
    add_transposed_product_bf16(du.dim(0), du.data<float>(), rank, masked.data<float>(), k,
                                turned.mutable_data<float>());
    transpose(turned.data<float>(), rank, k, da.mutable_data<float>());
}

}  // namespace

LoraForward lora_linear_bf16(const Tensor& x, const PackedWeight& w, const Tensor& a, const Tensor& b,
                             const LoraScale& scale, const DropoutKey* drop) {
    const int64_t rows = x.dim(0), k = w.in_features(), n = w.out_features(), rank = a.dim(1);
    LoraForward result{Tensor::empty({rows, n}), Tensor::empty({rows, rank})};
    float* y = result.y.mutable_data<float>();
    Tensor x_memory = bf16_workspace(rows, k), u_memory = bf16_workspace(rows, rank);
    Tensor a_memory = bf16_panel_workspace(k, rank), b_memory = bf16_panel_workspace(rank, n);
    const Panels a_panels = pack_bf16_columns(a.data<float>(), rank, k, rank, a_memory);
    const Panels b_panels = pack_bf16_columns(b.data<float>(), n, rank, n, b_memory);
    const auto multiply_a = [&](Bf16Rows masked) {
        gemm_bf16(rows, masked, a_panels, result.u.mutable_data<float>(), rank);
    };
    if (drops(drop)) multiply_a(pack_masked(x, *drop, x_memory));  // the memory is used again for x itself
    const Bf16Rows packed = pack(x, x_memory);
    if (!drops(drop)) multiply_a(packed);
    const Bf16Rows u = pack(result.u, u_memory);
    if (!scale.r.defined()) {
        const Bf16Update update{u, b_panels, static_cast<float>(scale.s)};
        gemm_bf16(rows, packed, w.panels(), y, n, {}, &update);
        return result;
    }
    gemm_bf16(rows, packed, w.panels(), y, n);
    const auto borders = borders_of("lora_linear", scale.borders, rows);
    for (size_t s = 0; s + 1 < borders.size(); ++s)
        gemm_bf16(borders[s + 1] - borders[s], u.from(borders[s]), b_panels, y + borders[s] * n, n,
                  {.add_scaled = true, .column_scale = scale.r.data<float>() + static_cast<int64_t>(s) * n});
    return result;
}

void lora_linear_backward_bf16(const Tensor& dy, const Tensor& x, const Tensor& u, const PackedWeight& w,
                               const Tensor& a, const Tensor& b, const LoraScale& scale, const DropoutKey* drop,
                               const LoraGradients& out) {
    const int64_t k = a.dim(0), rank = a.dim(1), n = b.dim(1), rows = x.dim(0);
    if (out.dr) {
        Tensor product = workspace({rows, n}), memory = bf16_panel_workspace(rank, n);
        gemm(rows, u.data<float>(), rank, pack_bf16_columns(b.data<float>(), n, rank, n, memory),
             product.mutable_data<float>(), n);
        segment_scale_backward_r(dy, product, scale.borders, *out.dr);
    }
    const Tensor scaled =
        scale.r.defined() ? segment_scale(dy, scale.r, scale.borders) : dy;  // d(uB); a number s comes later
    const float s = scale.r.defined() ? 1.0f : static_cast<float>(scale.s);
    if (out.db)
        add_transposed_product_bf16(rows, scaled_by(u, s).data<float>(), rank, scaled.data<float>(), n,
                                    out.db->mutable_data<float>());
    if (!out.dx && !out.da) return;
    Tensor dy_memory = bf16_workspace(rows, n), b_memory = bf16_panel_workspace(n, rank);
    Bf16Rows packed = pack(scaled, dy_memory);
    Tensor du = workspace({rows, rank});
    gemm_bf16(rows, packed, pack_bf16_transposed(b.data<float>(), n, n, rank, b_memory), du.mutable_data<float>(),
              rank);
    du = scaled_by(du, s);
    if (out.da) add_da(dropped(x, drop), du, *out.da);
    if (!out.dx) return;
    if (scale.r.defined()) packed = pack(dy, dy_memory);
    Tensor du_memory = bf16_workspace(rows, rank), a_memory = bf16_panel_workspace(rank, k);
    const Bf16Update update{pack(du, du_memory), pack_bf16_transposed(a.data<float>(), rank, rank, k, a_memory), 1.0f};
    *out.dx = Tensor::empty({rows, k});
    float* dx = out.dx->mutable_data<float>();
    if (!drops(drop)) return gemm_transposed_bf16(rows, packed, w.panels(), dx, k, false, &update);
    gemm_transposed_bf16(rows, packed, w.panels(), dx, k);
    Tensor branch = workspace({rows, k});
    gemm_bf16(rows, update.rows, update.b, branch.mutable_data<float>(), k);
    each_masked_row(branch, *drop, [&](int64_t t, const float* row) {
        for (int64_t i = 0; i < k; ++i) dx[t * k + i] += row[i];
    });
}

}  // namespace wavllm::kernels
