#pragma once
// Rows moved, in double. The entries of plans and indices have been checked.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor concat_rows(std::span<const Tensor> tensors) {
    int64_t rows = 0;
    for (const Tensor& t : tensors) {
        expect("concat_rows", "an input", t, {t.shape()[0], tensors[0].shape().last()}, DType::f64);
        rows += t.dim(0);
    }
    Tensor y = zeros({rows, tensors[0].dim(1)});
    rows = 0;
    for (const Tensor& t : tensors) {
        y.slice(0, rows, rows + t.dim(0)).assign(t);
        rows += t.dim(0);
    }
    return y;
}

inline Tensor gather_rows(const Tensor& x, const int32_t* index, int64_t rows) {
    const In from("gather_rows", "x", x);
    const int64_t d = from.columns();
    Tensor y = zeros({rows, d});
    double* py = y.mutable_data<double>();
    for (int64_t t = 0; t < rows; ++t)
        for (int64_t i = 0; i < d; ++i) py[t * d + i] = from[index[t] * d + i];
    return y;
}

inline Tensor splice_rows(const Tensor& a, const Tensor& b, const int32_t* plan, int64_t rows) {
    const In pa("splice_rows", "a", a), pb("splice_rows", "b", b);
    const int64_t d = pa.columns();
    Tensor y = zeros({rows, d});
    double* py = y.mutable_data<double>();
    for (int64_t t = 0; t < rows; ++t)
        for (int64_t i = 0; i < d; ++i) py[t * d + i] = plan[t] >= 0 ? pa[plan[t] * d + i] : pb[(-1 - plan[t]) * d + i];
    return y;
}

/// into[row(t),:] += dy[t,:] for the t with row(t) >= 0, in order.
template <class Row>
void add_rows(const Tensor& dy, Tensor& into, Row row) {
    const In pdy("rows backward", "dy", dy);
    const int64_t d = pdy.columns();
    double* to = into.mutable_data<double>();
    for (int64_t t = 0; t < pdy.rows(); ++t)
        for (int64_t i = 0; row(t) >= 0 && i < d; ++i) to[row(t) * d + i] += pdy[t * d + i];
}

}  // namespace wavllm::kernels::f64
