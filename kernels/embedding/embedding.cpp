#include "kernels/embedding/embedding.h"

#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/embedding/embedding_body.h"
#include "kernels/embedding/embedding_f64.h"
#include "kernels/rows/add_rows.h"
#include "tensor/graph.h"

namespace wavllm::kernels {

namespace {

const int32_t* checked_ids(std::string_view op, const Tensor& ids, int64_t vocabulary) {
    expect(op, "ids", ids, DType::i32);
    const int32_t* p = ids.data<int32_t>();
    for (int64_t t = 0; t < ids.numel(); ++t)
        if (p[t] < 0 || p[t] >= vocabulary)
            throw Error("{}: id {} at position {} is not in the vocabulary of {} tokens", op, p[t], t, vocabulary);
    return p;
}

}  // namespace

Tensor embedding(const Tensor& table, const Tensor& ids) {
    const DType dtype = table.dtype();
    const Device device = table.device();
    expect("embedding", "table", table, dtype, device);
    if (!info(dtype).floating)
        throw DTypeError("embedding: table must be f32, bf16, f16, q8_0, q4_1 or f64, but is {}", table.describe());
    if (table.rank() != 2 || ids.rank() != 1)
        throw ShapeError("embedding: table must be [V, D] and ids [T], but they are {} and {}", table.describe(),
                         ids.describe());
    const int64_t d = table.dim(1), rows = ids.dim(0);
    if (f64::runs(table)) return f64::embedding(table, checked_ids("embedding", ids, table.dim(0)), rows);
    if (device != Device::cpu && ids.device() == device) {
        expect("embedding", "ids", ids, DType::i32, device);
    } else {
        checked_ids("embedding", ids, table.dim(0));
        if (device != Device::cpu) expect_no_capture("embedding with ids on the CPU");
    }
    Tensor y = Tensor::empty({rows, d}, DType::f32, device);
    if (device != Device::cpu) {
        const Tensor entries = ids.mirror(device);
        on(embedding_body, device)(table.device_raw(), dtype, entries.device_data<int32_t>(),
                                   y.mutable_device_data<float>(), rows, d);
        return y;
    }
    const int32_t* id = ids.data<int32_t>();
    const auto columns = static_cast<size_t>(d);
    const size_t row_bytes = bytes_for(dtype, columns);
    const char* source = static_cast<const char*>(table.raw());
    float* py = y.mutable_data<float>();
    for_rows(rows, d, [=](int64_t t) {
        dequantize(dtype, source + static_cast<size_t>(id[t]) * row_bytes, py + t * d, columns);
    });
    return y;
}

void embedding_backward(const Tensor& dy, const Tensor& ids, Tensor& d_table) {
    const Device device = d_table.device();
    expect("embedding backward", "d_table", d_table, f64::runs(dy) ? DType::f64 : DType::f32, device);
    const int64_t d = d_table.dim(1), rows = ids.dim(0);
    expect("embedding backward", "dy", dy, {rows, d}, d_table.dtype(), device);
    const int32_t* id = checked_ids("embedding backward", ids, d_table.dim(0));
    if (f64::runs(dy)) return f64::embedding_backward(dy, id, d_table);
    if (device != Device::cpu) return add_rows_on_device(dy, d_table, rows, [id](int64_t t) { return int64_t{id[t]}; });
    const float* pdy = dy.data<float>();
    float* pdt = d_table.mutable_data<float>();
    for_column_slices(d, [=](int64_t begin, int64_t end) {
        for (int64_t t = 0; t < rows; ++t)
            for (int64_t i = begin; i < end; ++i) pdt[id[t] * d + i] += pdy[t * d + i];
    });
}

}  // namespace wavllm::kernels
