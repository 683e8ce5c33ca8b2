#pragma once
// c = a b, or a b^T, in double, matrix by matrix of a batch.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_b) {
    const In pa("matmul", "a", a), pb("matmul", "b", b);
    bool good = a.rank() >= 2 && a.rank() == b.rank() && a.dim(-1) == b.dim(transpose_b ? -1 : -2);
    for (int i = 0; good && i < a.rank() - 2; ++i) good = a.dim(i) == b.dim(i);
    if (!good)
        throw ShapeError("matmul: {} and {}{} do not fit", a.describe(), b.describe(),
                         transpose_b ? " transposed" : "");
    const int64_t m = a.dim(-2), k = a.dim(-1), n = b.dim(transpose_b ? -2 : -1);
    Tensor c = zeros(a.shape().with(-1, n));
    double* pc = c.mutable_data<double>();
    for_rows(c.rows(), n * k, [&](int64_t row) {
        const int64_t matrix = row / m * k * n;
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < k; ++j)
                pc[row * n + i] += pa[row * k + j] * pb[matrix + (transpose_b ? i * k + j : j * n + i)];
    });
    return c;
}

inline void matmul_backward_b(const Tensor& dc, const Tensor& a, bool transpose_b, Tensor& db) {
    const In pdc("matmul backward", "dc", dc), pa("matmul backward", "a", a);
    expect("matmul backward", "db", db, DType::f64);
    const int64_t m = a.dim(-2), k = a.dim(-1), n = dc.dim(-1);
    double* pdb = db.mutable_data<double>();
    for (int64_t row = 0; row < pdc.rows(); ++row) {
        const int64_t matrix = row / m * k * n;
        for (int64_t j = 0; j < k; ++j)
            for (int64_t i = 0; i < n; ++i)
                pdb[matrix + (transpose_b ? i * k + j : j * n + i)] += pa[row * k + j] * pdc[row * n + i];
    }
}

}  // namespace wavllm::kernels::f64
