#include "kernels/common/column_sums.cuh"
#include "kernels/common/column_sums_body.h"

namespace wavllm::kernels {

namespace {

struct Values {
    const float* x;
    int64_t n;
    __device__ RowTerm operator()(int64_t row, int64_t column) const {
        return {x[row * n + column], 1.0f};  // x * 1 + sum is rounded as x + sum is
    }
};

struct Products {
    const float *x, *y;
    int64_t n;
    __device__ RowTerm operator()(int64_t row, int64_t column) const {
        return {x[row * n + column], y[row * n + column]};
    }
};

void column_sums(const float* x, const float* y, const int64_t* borders, int64_t segments, int64_t rows, int64_t n,
                 float* sums) {
    if (y != nullptr)
        add_column_sums("sums of columns of products", Products{x, y, n}, borders, segments, rows, n, sums);
    else
        add_column_sums("sums of columns", Values{x, n}, borders, segments, rows, n, sums);
}

WAVLLM_CUDA_BODY(column_sums_body, column_sums);

}  // namespace

}  // namespace wavllm::kernels
