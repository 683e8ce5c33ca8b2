#include "kernels/columns/columns_body.h"
#include "kernels/common/elementwise.cuh"

namespace wavllm::kernels {

namespace {

struct Slice {
    const float* x;
    float* y;
    int64_t c, d;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        Floats<V>::load(x + row * c + column).store(y + row * d + column);
    }
};

struct SliceBackward {
    const float* dy;
    float* dx;
    int64_t c, d;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        const auto g = Floats<V>::load(dy + row * d + column);
        auto sum = Floats<V>::load(dx + row * c + column);
        for (int k = 0; k < V; ++k) sum.v[k] += g.v[k];
        sum.store(dx + row * c + column);
    }
};

struct Concat {
    const float *a, *b;
    float* y;
    int64_t ca, cb;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        const float* from = column < ca ? a + row * ca + column : b + row * cb + (column - ca);
        Floats<V>::load(from).store(y + row * (ca + cb) + column);
    }
};

void slice(const float* x, float* y, int64_t rows, int64_t c, int64_t d) {
    launch_cells("slice_columns", Slice{x, y, c, d}, rows, d, c % 4 == 0 && d % 4 == 0 && aligned<4>(x, y));
}

void slice_backward(const float* dy, float* dx, int64_t rows, int64_t c, int64_t d) {
    launch_cells("slice_columns backward", SliceBackward{dy, dx, c, d}, rows, d,
                 c % 4 == 0 && d % 4 == 0 && aligned<4>(dy, dx));
}

void concat(const float* a, const float* b, float* y, int64_t rows, int64_t ca, int64_t cb) {
    launch_cells("concat_columns", Concat{a, b, y, ca, cb}, rows, ca + cb,
                 ca % 4 == 0 && cb % 4 == 0 && aligned<4>(a, b, y));
}

WAVLLM_CUDA_BODY(slice_columns_body, slice);
WAVLLM_CUDA_BODY(slice_columns_backward_body, slice_backward);
WAVLLM_CUDA_BODY(concat_columns_body, concat);

}  // namespace

}  // namespace wavllm::kernels
