#pragma once
// Rows of a table looked up, in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

/// ids have been checked.
inline Tensor embedding(const Tensor& table, const int32_t* ids, int64_t rows) {
    const In from("embedding", "table", table);
    const int64_t d = from.columns();
    Tensor y = zeros({rows, d});
    double* py = y.mutable_data<double>();
    for (int64_t t = 0; t < rows; ++t)
        for (int64_t i = 0; i < d; ++i) py[t * d + i] = from[ids[t] * d + i];
    return y;
}

inline void embedding_backward(const Tensor& dy, const int32_t* ids, Tensor& d_table) {
    const In pdy("embedding backward", "dy", dy);
    const int64_t d = pdy.columns();
    double* to = d_table.mutable_data<double>();
    for (int64_t t = 0; t < pdy.rows(); ++t)
        for (int64_t i = 0; i < d; ++i) to[ids[t] * d + i] += pdy[t * d + i];
}

}  // namespace wavllm::kernels::f64
