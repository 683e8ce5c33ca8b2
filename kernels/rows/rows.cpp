#include "kernels/rows/rows.h"

#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/rows/add_rows.h"
#include "kernels/rows/rows_body.h"
#include "kernels/rows/rows_f64.h"

namespace wavllm::kernels {

namespace {

static_assert(RowSources::kMost == kMaxConcat);

/// f32 or f64.
void expect_matrix(std::string_view op, std::string_view argument, const Tensor& t, Device device) {
    expect(op, argument, t, f64::runs(t) ? DType::f64 : DType::f32, device);
    if (t.rank() != 2) throw ShapeError("{}: {} must be [rows, D], but is {}", op, argument, t.describe());
}

/// The i32 entries of a plan or index, each in [-low, high).
const int32_t* checked_entries(std::string_view op, std::string_view argument, const Tensor& t, int64_t low,
                               int64_t high) {
    expect(op, argument, t, DType::i32);
    if (t.rank() != 1) throw ShapeError("{}: {} must be [rows], but is {}", op, argument, t.describe());
    const int32_t* p = t.data<int32_t>();
    for (int64_t i = 0; i < t.numel(); ++i)
        if (p[i] < -low || p[i] >= high)
            throw ShapeError("{}: {}[{}] is {}, expected a row in [{}, {})", op, argument, i, p[i], -low, high);
    return p;
}

/// into[row(n),:] += dy[n,:] for the n with row(n) >= 0.
template <class Row>
void add_rows(const Tensor& dy, Tensor& into, Row row) {
    if (f64::runs(into)) return f64::add_rows(dy, into, row);
    const int64_t n = dy.dim(0), d = dy.dim(1);
    if (into.device() != Device::cpu) return add_rows_on_device(dy, into, n, row);
    const float* pdy = dy.data<float>();
    float* p = into.mutable_data<float>();
    for_column_slices(d, [=](int64_t begin, int64_t end) {
        for (int64_t t = 0; t < n; ++t) {
            const int64_t r = row(t);
            if (r < 0) continue;
            for (int64_t i = begin; i < end; ++i) p[r * d + i] += pdy[t * d + i];
        }
    });
}

}  // namespace

Tensor concat_rows(std::span<const Tensor> tensors) {
    if (tensors.empty() || tensors.size() > kMaxConcat)
        throw ShapeError("concat_rows: {} tensors, expected 1 to {}", tensors.size(), kMaxConcat);
    if (f64::runs(tensors[0])) return f64::concat_rows(tensors);
    const Device device = tensors[0].device();
    int64_t rows = 0;
    for (const Tensor& t : tensors) {
        expect_matrix("concat_rows", "an input", t, device);
        expect("concat_rows", "an input", t, DType::f32, device);
        if (t.dim(1) != tensors[0].dim(1))
            throw ShapeError("concat_rows: {} and {} differ in columns", tensors[0].describe(), t.describe());
        rows += t.dim(0);
    }
    Tensor y = Tensor::empty({rows, tensors[0].dim(1)}, DType::f32, device);
    if (device != Device::cpu) {
        RowSources sources{};
        for (const Tensor& t : tensors) {
            sources.source[sources.count] = t.device_data<float>();
            sources.begin[sources.count + 1] = sources.begin[sources.count] + t.dim(0);
            ++sources.count;
        }
        on(concat_rows_body, device)(sources, y.mutable_device_data<float>(), y.dim(1));
        return y;
    }
    float* py = y.mutable_data<float>();
    for (const Tensor& t : tensors) {
        const float* p = t.data<float>();
        parallel_for(t.numel(), 1 << 16, [=](int64_t begin, int64_t end) {
            std::memcpy(py + begin, p + begin, static_cast<size_t>(end - begin) * sizeof(float));
        });
        py += t.numel();
    }
    return y;
}

Tensor gather_rows(const Tensor& x, const Tensor& index) {
    const Device device = x.device();
    expect_matrix("gather_rows", "x", x, device);
    const int32_t* at = checked_entries("gather_rows", "index", index, 0, x.dim(0));
    const int64_t d = x.dim(1), rows = index.dim(0);
    if (f64::runs(x)) return f64::gather_rows(x, at, rows);
    Tensor y = Tensor::empty({rows, d}, DType::f32, device);
    if (device != Device::cpu) {
        const Tensor entries = index.mirror(device);
        on(gather_rows_body, device)(x.device_data<float>(), entries.device_data<int32_t>(),
                                     y.mutable_device_data<float>(), rows, d);
        return y;
    }
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    for_rows(rows, d,
             [=](int64_t n) { std::memcpy(py + n * d, px + at[n] * d, static_cast<size_t>(d) * sizeof(float)); });
    return y;
}

void gather_rows_backward(const Tensor& dy, const Tensor& index, Tensor& dx) {
    expect_matrix("gather_rows backward", "dx", dx, dx.device());
    expect("gather_rows backward", "dy", dy, {index.dim(0), dx.dim(1)}, dx.dtype(), dx.device());
    const int32_t* at = checked_entries("gather_rows backward", "index", index, 0, dx.dim(0));
    add_rows(dy, dx, [at](int64_t n) { return int64_t{at[n]}; });
}

Tensor splice_rows(const Tensor& a, const Tensor& b, const Tensor& plan) {
    const Device device = a.device();
    expect_matrix("splice_rows", "a", a, device);
    expect("splice_rows", "b", b, {b.shape()[0], a.dim(1)}, a.dtype(), device);
    const int32_t* at = checked_entries("splice_rows", "plan", plan, b.dim(0), a.dim(0));
    const int64_t d = a.dim(1), rows = plan.dim(0);
    if (f64::runs(a)) return f64::splice_rows(a, b, at, rows);
    Tensor y = Tensor::empty({rows, d}, DType::f32, device);
    if (device != Device::cpu) {
        const Tensor entries = plan.mirror(device);
        on(splice_rows_body, device)(a.device_data<float>(), b.device_data<float>(), entries.device_data<int32_t>(),
                                     y.mutable_device_data<float>(), rows, d);
        return y;
    }
    const float *pa = a.data<float>(), *pb = b.data<float>();
    float* py = y.mutable_data<float>();
    for_rows(rows, d, [=](int64_t t) {
        const int64_t r = at[t];
        std::memcpy(py + t * d, r >= 0 ? pa + r * d : pb + (-1 - r) * d, static_cast<size_t>(d) * sizeof(float));
    });
    return y;
}

void splice_rows_backward_a(const Tensor& dy, const Tensor& plan, Tensor& da) {
    expect_matrix("splice_rows backward", "da", da, da.device());
    expect("splice_rows backward", "dy", dy, {plan.dim(0), da.dim(1)}, da.dtype(), da.device());
    const int32_t* at = checked_entries("splice_rows backward", "plan", plan, int64_t{1} << 31, da.dim(0));
    add_rows(dy, da, [at](int64_t t) { return int64_t{at[t]}; });
}

void splice_rows_backward_b(const Tensor& dy, const Tensor& plan, Tensor& db) {
    expect_matrix("splice_rows backward", "db", db, db.device());
    expect("splice_rows backward", "dy", dy, {plan.dim(0), db.dim(1)}, db.dtype(), db.device());
    const int32_t* at = checked_entries("splice_rows backward", "plan", plan, db.dim(0), int64_t{1} << 31);
    add_rows(dy, db, [at](int64_t t) { return -1 - int64_t{at[t]}; });
}

}  // namespace wavllm::kernels
