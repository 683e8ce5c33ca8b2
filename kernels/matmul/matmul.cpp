#include "kernels/matmul/matmul.h"

#include "kernels/common/check.h"
#include "kernels/gemm/gemm_bf16.h"
#include "kernels/gemm/gemm_device.h"
#include "kernels/linear/linear.h"
#include "kernels/matmul/matmul_f64.h"

namespace wavllm::kernels {

namespace {

struct Sizes {
    int64_t batch, m, k, n;
};

Sizes sizes_of(const Tensor& a, const Tensor& b, bool transpose_b) {
    expect("matmul", "a", a, DType::f32, a.device());
    expect("matmul", "b", b, DType::f32, a.device());
    bool good = a.rank() >= 2 && a.rank() == b.rank() && a.dim(-1) == b.dim(transpose_b ? -1 : -2);
    for (int i = 0; good && i < a.rank() - 2; ++i) good = a.dim(i) == b.dim(i);
    if (!good)
        throw ShapeError("matmul: {} and {}{} do not fit", a.describe(), b.describe(),
                         transpose_b ? " transposed" : "");
    const int64_t m = a.dim(-2), k = a.dim(-1), n = b.dim(transpose_b ? -2 : -1);
    return {m * k > 0 ? a.numel() / (m * k) : 0, m, k, n};
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_b, DType products) {
    if (f64::runs(a)) return f64::matmul(a, b, transpose_b);  // where nothing is rounded to `products`
    const auto [batch, m, k, n] = sizes_of(a, b, transpose_b);
    const bool in_bf16 = products == DType::bf16;
    const Device device = a.device();
    Tensor c = Tensor::empty(a.shape().with(-1, n), DType::f32, device);
    if (device != Device::cpu) {
        Product p{.m = m, .n = n, .k = k, .batch = batch};
        p.a = along(a.device_data<float>(), k);
        p.b = transpose_b ? along(b.device_data<float>(), k) : across(b.device_data<float>(), n);
        p.a.batch_stride = m * k;
        p.b.batch_stride = k * n;
        p.c = c.mutable_device_data<float>();
        p.c_stride = n;
        p.c_batch_stride = m * n;
        device_gemm(device, p, products);
        return c;
    }
    Tensor panels = in_bf16 ? bf16_panel_workspace(k, n) : workspace({panel_elements(k, n)});
    const float *pa = a.data<float>(), *pb = b.data<float>();
    float *pc = c.mutable_data<float>(), *pp = panels.mutable_data<float>();
    for (int64_t i = 0; i < batch; ++i) {
        const float* right = pb + i * k * n;
        const Panels packed = in_bf16
                                  ? (transpose_b ? pack_bf16_transposed(right, k, k, n, panels)
                                                 : pack_bf16_columns(right, n, k, n, panels))
                                  : (transpose_b ? pack_rows(right, k, k, n, pp) : pack_columns(right, n, k, n, pp));
        gemm(m, pa + i * m * k, k, packed, pc + i * m * n, n);
    }
    return c;
}

Tensor matmul_backward_a(const Tensor& dc, const Tensor& b, bool transpose_b, DType products) {
    return matmul(dc, b, !transpose_b, products);
}

void matmul_backward_b(const Tensor& dc, const Tensor& a, bool transpose_b, Tensor& db, DType products) {
    if (f64::runs(a)) return f64::matmul_backward_b(dc, a, transpose_b, db);
    const Device device = a.device();
    expect("matmul backward", "dc", dc, DType::f32, device);
    expect("matmul backward", "db", db, DType::f32, device);
    const int64_t m = a.dim(-2), k = a.dim(-1), n = dc.dim(-1), batch = m * k > 0 ? a.numel() / (m * k) : 0;
    // db = left^T right: [K, N] = a^T dc, or transposed [N, K] = dc^T a
    const Tensor &left = transpose_b ? dc : a, &right = transpose_b ? a : dc;
    const int64_t rows = left.dim(-1), columns = right.dim(-1);
    if (device != Device::cpu) {
        Product p{.m = rows, .n = columns, .k = m, .batch = batch, .accumulate = true};
        p.a = across(left.device_data<float>(), rows);
        p.b = across(right.device_data<float>(), columns);
        p.a.batch_stride = m * rows;
        p.b.batch_stride = m * columns;
        p.c = db.mutable_device_data<float>();
        p.c_stride = columns;
        p.c_batch_stride = rows * columns;
        return device_gemm(device, p, products);
    }
    if (products == DType::bf16) {
        for (int64_t i = 0; i < batch; ++i)
            add_transposed_product_bf16(m, left.data<float>() + i * m * rows, rows,
                                        right.data<float>() + i * m * columns, columns,
                                        db.mutable_data<float>() + i * k * n);
        return;
    }
    Tensor turned = workspace({rows, m}), panels = workspace({panel_elements(m, columns)});
    for (int64_t i = 0; i < batch; ++i) {
        transpose(left.data<float>() + i * m * rows, m, rows, turned.mutable_data<float>());
        const Panels packed =
            pack_columns(right.data<float>() + i * m * columns, columns, m, columns, panels.mutable_data<float>());
        gemm(rows, turned.data<float>(), m, packed, db.mutable_data<float>() + i * k * n, columns,
             {.accumulate = true});
    }
}

}  // namespace wavllm::kernels
