#include "kernels/common/elementwise.cuh"
#include "kernels/rows/rows_body.h"

namespace wavllm::kernels {

namespace {

struct ConcatRows {
    RowSources from;
    float* y;
    int64_t d;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        const float* source = from.source[0];
        int64_t begin = 0;
#pragma unroll  // with constant indices the table stays in constant memory
        for (int i = 1; i < RowSources::kMost; ++i)
            if (i < from.count && row >= from.begin[i]) {
                source = from.source[i];
                begin = from.begin[i];
            }
        Floats<V>::load(source + (row - begin) * d + column).store(y + row * d + column);
    }
};

struct Gather {
    const float* x;
    const int32_t* index;
    float* y;
    int64_t d;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        Floats<V>::load(x + index[row] * d + column).store(y + row * d + column);
    }
};

struct Splice {
    const float *a, *b;
    const int32_t* plan;
    float* y;
    int64_t d;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        const int64_t r = plan[row];
        Floats<V>::load((r >= 0 ? a + r * d : b + (-1 - r) * d) + column).store(y + row * d + column);
    }
};

/// Entries of one row stand side by side in `order`; the first of them adds them all. So rows that meet in one are added
/// by one thread in the CPU's order, without atomics, and rows that nothing belongs to are not touched.
struct AddRows {
    const float* dy;
    const int64_t* order;
    float* into;
    int64_t entries, d;
    template <int V>
    __device__ void at(int64_t entry, int64_t column) const {
        const int64_t row = order[entry] >> 32;
        if (entry > 0 && order[entry - 1] >> 32 == row) return;
        float* out = into + row * d + column;
        auto sum = Floats<V>::load(out);
        for (; entry < entries; ++entry) {
            const int64_t e = order[entry];
            if (e >> 32 != row) break;
            const auto g = Floats<V>::load(dy + (e & 0xffffffff) * d + column);
            for (int k = 0; k < V; ++k) sum.v[k] += g.v[k];
        }
        sum.store(out);
    }
};

void concat(const RowSources& sources, float* y, int64_t d) {
    bool wide = d % 4 == 0 && aligned<4>(y);
    for (int i = 0; i < sources.count; ++i) wide = wide && aligned<4>(sources.source[i]);
    launch_cells("concat_rows", ConcatRows{sources, y, d}, sources.begin[sources.count], d, wide);
}

void gather(const float* x, const int32_t* index, float* y, int64_t rows, int64_t d) {
    launch_cells("gather_rows", Gather{x, index, y, d}, rows, d, d % 4 == 0 && aligned<4>(x, y));
}

void splice(const float* a, const float* b, const int32_t* plan, float* y, int64_t rows, int64_t d) {
    launch_cells("splice_rows", Splice{a, b, plan, y, d}, rows, d, d % 4 == 0 && aligned<4>(a, b, y));
}

void add_rows(const float* dy, const int64_t* order, float* into, int64_t entries, int64_t d) {
    launch_cells("backward of gathered rows", AddRows{dy, order, into, entries, d}, entries, d,
                 d % 4 == 0 && aligned<4>(dy, into));
}

WAVLLM_CUDA_BODY(concat_rows_body, concat);
WAVLLM_CUDA_BODY(gather_rows_body, gather);
WAVLLM_CUDA_BODY(splice_rows_body, splice);
WAVLLM_CUDA_BODY(add_rows_body, add_rows);

}  // namespace

}  // namespace wavllm::kernels
