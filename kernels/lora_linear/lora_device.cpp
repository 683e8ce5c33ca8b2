// Two launches forward: u = drop(x) A, and y, whose kernel adds the rank-wide product u B to its own tile while that is in
// registers. (To make u in the same kernel every block of columns would have to make it again: a fourth more work at
// rank 32.) x is rounded to bf16 once for both, its masked copy only exists in bf16 and until u is made.

#include "kernels/lora_linear/lora_device.h"

#include "kernels/common/check.h"
#include "kernels/common/column_sums_body.h"
#include "kernels/common/on_device.h"
#include "kernels/dropout/dropout.h"
#include "kernels/gemm/gemm_device.h"
#include "kernels/lora_linear/lora_bf16.h"

namespace wavllm::kernels {

namespace {

DropoutMask mask_or_none(const DropoutKey* drop, Device device) {
    return drops(drop) ? mask_of(*drop, device) : DropoutMask{};
}

RowScale strength(const LoraScale& scale, int64_t rows, Device device) {
    if (!scale.r.defined()) return {.s = static_cast<float>(scale.s)};
    borders_of("lora_linear", scale.borders, rows);
    return {.s = 1,
            .r = scale.r.device_data<float>(),
            .borders = scale.borders.mirror(device).device_data<int64_t>(),
            .requests = scale.borders.numel() - 1};
}

/// Rows as the products take them, changed on the way where there is something to change; else where they are. `memory`
/// keeps what is new.
Lines prepared(const Tensor& t, DType products, Tensor& memory, const DropoutMask& mask = {},
               const RowScale& scale = {}) {
    const int64_t rows = t.dim(0), columns = t.dim(1);
    const Lines in = along(t.device_data<float>(), columns);
    if (products == DType::bf16) return rounded(t.device(), in, rows, columns, memory, mask, scale);
    if (mask.row_keys == nullptr && scale.r == nullptr && scale.s == 1) return in;
    memory = workspace({rows, columns}, t.device());
    on(rows_pass_body, t.device())({.in = in,
                                    .rows = rows,
                                    .columns = columns,
                                    .out = memory.mutable_device_raw(),
                                    .out_stride = columns,
                                    .mask = mask,
                                    .scale = scale});
    return along(memory.device_data<float>(), columns);
}

Lines turned(Lines l) {
    l.across = true;
    return l;
}

}  // namespace

LoraForward lora_linear_device(const Tensor& x, const PackedWeight& w, const Tensor& a, const Tensor& b,
                               const LoraScale& scale, const DropoutKey* drop) {
    const Device device = x.device();
    const DType products = w.dtype();
    const int64_t rows = x.dim(0), k = w.in_features(), n = w.out_features(), rank = a.dim(1);
    LoraForward result{Tensor::empty({rows, n}, DType::f32, device), Tensor::empty({rows, rank}, DType::f32, device)};
    Tensor x_memory, masked_memory;
    const Lines left = prepared(x, products, x_memory);
    const Lines masked = drops(drop) ? prepared(x, products, masked_memory, mask_of(*drop, device)) : left;
    device_gemm(device,
                {.m = rows,
                 .n = rank,
                 .k = k,
                 .a = masked,
                 .b = across(a.device_data<float>(), rank),
                 .c = result.u.mutable_device_data<float>(),
                 .c_stride = rank},
                products);
    masked_memory = {};
    device_gemm(device,
                {.m = rows,
                 .n = n,
                 .k = k,
                 .a = left,
                 .b = w.lines(),
                 .c = result.y.mutable_device_data<float>(),
                 .c_stride = n,
                 .update = {.rows = along(result.u.device_data<float>(), rank),
                            .columns = across(b.device_data<float>(), n),
                            .rank = rank,
                            .scale = strength(scale, rows, device)}},
                products);
    return result;
}

void lora_linear_backward_device(const Tensor& dy, const Tensor& x, const Tensor& u, const PackedWeight& w,
                                 const Tensor& a, const Tensor& b, const LoraScale& scale, const DropoutKey* drop,
                                 const LoraGradients& out) {
    const Device device = x.device();
    const DType products = w.dtype();
    const int64_t k = a.dim(0), rank = a.dim(1), n = b.dim(1), rows = x.dim(0);
    const RowScale r = strength(scale, rows, device);
    if (out.dr) {
        Tensor product = workspace({rows, n}, device);
        device_gemm(device,
                    {.m = rows,
                     .n = n,
                     .k = rank,
                     .a = along(u.device_data<float>(), rank),
                     .b = across(b.device_data<float>(), n),
                     .c = product.mutable_device_data<float>(),
                     .c_stride = n},
                    products);
        expect("lora_linear backward", "dr", *out.dr, scale.r.shape(), DType::f32, device);
        on(column_sums_body, device)(dy.device_data<float>(), product.device_data<float>(), r.borders, r.requests, rows,
                                     n, out.dr->mutable_device_data<float>());
    }
    // d(uB): each request's vector is in it, a number s comes later
    const float s = r.r != nullptr ? 1.0f : r.s;
    Tensor scaled_memory;
    const Lines scaled = prepared(dy, products, scaled_memory, {}, r.r != nullptr ? r : RowScale{});
    if (out.db) {
        Tensor u_memory;
        device_gemm(device,
                    {.m = rank,
                     .n = n,
                     .k = rows,
                     .a = turned(prepared(u, products, u_memory, {}, {.s = s})),
                     .b = turned(scaled),
                     .c = out.db->mutable_device_data<float>(),
                     .c_stride = n,
                     .accumulate = true},
                    products);
    }
    if (!out.dx && !out.da) return;
    Tensor du = workspace({rows, rank}, device);
    device_gemm(device,
                {.m = rows,
                 .n = rank,
                 .k = n,
                 .a = scaled,
                 .b = along(b.device_data<float>(), n),
                 .c = du.mutable_device_data<float>(),
                 .c_stride = rank,
                 .factor = s},
                products);
    const DropoutMask mask = mask_or_none(drop, device);
    if (out.da) {
        Tensor masked_memory;
        device_gemm(device,
                    {.m = k,
                     .n = rank,
                     .k = rows,
                     .a = turned(prepared(x, products, masked_memory, mask)),
                     .b = across(du.device_data<float>(), rank),
                     .c = out.da->mutable_device_data<float>(),
                     .c_stride = rank,
                     .accumulate = true},
                    products);
    }
    if (!out.dx) return;
    Tensor dy_memory;
    *out.dx = Tensor::empty({rows, k}, DType::f32, device);
    device_gemm(device,
                {.m = rows,
                 .n = k,
                 .k = n,
                 .a = r.r != nullptr ? prepared(dy, products, dy_memory) : scaled,
                 .b = turned(w.lines()),
                 .c = out.dx->mutable_device_data<float>(),
                 .c_stride = k,
                 .update = {.rows = along(du.device_data<float>(), rank),
                            .columns = along(a.device_data<float>(), rank),
                            .rank = rank,
                            .mask = mask}},
                products);
}

}  // namespace wavllm::kernels
