#pragma once
// The CUDA bodies of the ops that move rows (rows.cu). All pointers but those in RowSources are of the device; rows have
// d floats, and entries of index and plan were checked on the CPU.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// What concat_rows puts end to end: source i gives rows begin[i] to begin[i + 1].
struct RowSources {
    static constexpr int kMost = 8;
    const float* source[kMost];
    int64_t begin[kMost + 1];
    int count;
};

inline CudaBody<void(const RowSources& sources, float* y, int64_t d)> concat_rows_body{"concat_rows"};
inline CudaBody<void(const float* x, const int32_t* index, float* y, int64_t rows, int64_t d)> gather_rows_body{
    "gather_rows"};
inline CudaBody<void(const float* a, const float* b, const int32_t* plan, float* y, int64_t rows, int64_t d)>
    splice_rows_body{"splice_rows"};
/// into[r,:] += dy[n,:] for each entry r * 2^32 + n of `order`, which is sorted: a row's terms in the order of n.
inline CudaBody<void(const float* dy, const int64_t* order, float* into, int64_t entries, int64_t d)> add_rows_body{
    "backward of gathered rows"};

}  // namespace wavllm::kernels
