#pragma once
// The two loops most kernels are: over rows, and over all elements in vectors. Both are cut by the shape alone.

#include "kernels/common/check.h"
#include "kernels/common/simd.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

/// Calls f(row) for every row; `columns` only sets how many rows a chunk has.
template <class F>
void for_rows(int64_t rows, int64_t columns, F&& f) {
    parallel_for(rows, row_chunk(columns), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) f(row);
    });
}

/// Calls f(i, lanes) for i = 0, 16, ... below n, as for_lanes, on several threads.
template <class F>
void for_elements(int64_t n, F&& f) {
    parallel_for(n, 1 << 14, [&](int64_t begin, int64_t end) {
        for_lanes(end - begin, [&](int64_t i, auto lanes) { f(begin + i, lanes); });
    });
}

/// Calls f(begin, end) for slices of the columns. For sums over rows: each slice walks all rows in order, so the order
/// of every sum is that of the rows, whoever runs it.
template <class F>
void for_column_slices(int64_t columns, F&& f) {
    parallel_for(columns, 64, f);
}

}  // namespace wavllm::kernels
