#include "kernels/gemm/gemm_device.h"

#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/gemm/cublaslt.h"

namespace wavllm::kernels {

Lines along(const float* data, int64_t stride) {
    return {.data = data, .dtype = DType::f32, .stride = stride};
}

Lines across(const float* data, int64_t stride) {
    return {.data = data, .dtype = DType::f32, .stride = stride, .across = true};
}

Tensor bf16_lines(int64_t rows, int64_t columns, Device device) {
    PurposeScope scope(Purpose::workspace);
    return Tensor::empty({rows, bf16_line(columns)}, DType::bf16, device);
}

Lines rounded(Device device, const Lines& in, int64_t rows, int64_t columns, Tensor& memory, const DropoutMask& mask,
              const RowScale& scale) {
    const int64_t stride = bf16_line(columns);
    memory = bf16_lines(rows, columns, device);
    RowsPass pass{in, rows, columns, memory.mutable_device_raw(), DType::bf16, stride, mask, scale};
    pass.in.across = false;  // of lines alone: which way the chain runs is not its business
    on(rows_pass_body, device)(pass);
    return {.data = memory.device_raw(), .dtype = DType::bf16, .stride = stride, .across = in.across};
}

namespace {

/// All products of a batch at once: their lines stand one behind another.
void round_factor(Device device, Lines& f, int64_t lines, int64_t columns, int64_t batch, Tensor& memory) {
    if (f.dtype != DType::f32) return;
    if (batch > 1 && f.batch_stride != lines * f.stride)
        throw Error("gemm: a batch in bf16 must lie densely, but {} lines of {} are {} apart", lines, f.stride,
                    f.batch_stride);
    f = rounded(device, f, batch * lines, columns, memory);
    f.batch_stride = lines * f.stride;
}

}  // namespace

void device_gemm(Device device, Product p, DType products) {
    if (p.m == 0 || p.n == 0 || p.batch == 0) return;
    if (products == DType::f32) return on(gemm_f32_body, device)(p);
    Tensor a, b, rows, columns;
    round_factor(device, p.a, p.a.across ? p.k : p.m, p.a.across ? p.m : p.k, p.batch, a);
    round_factor(device, p.b, p.b.across ? p.k : p.n, p.b.across ? p.n : p.k, p.batch, b);
    if (Update& u = p.update; u.rank > 0) {
        round_factor(device, u.rows, p.m, u.rank, 1, rows);
        round_factor(device, u.columns, u.columns.across ? u.rank : p.n, u.columns.across ? p.n : u.rank, 1, columns);
    }
    if (device == Device::cuda && cublaslt_multiply(p)) return;
    on(gemm_bf16_body, device)(p);
}

}  // namespace wavllm::kernels
