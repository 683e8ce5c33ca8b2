#include "kernels/common/column_sums.cuh"
#include "kernels/common/elementwise.cuh"
#include "kernels/common/segments.cuh"
#include "kernels/segment_scale/segment_scale_body.h"

namespace wavllm::kernels {

namespace {

struct SegmentScale {
    const float *x, *r;
    const int64_t* borders;
    float* y;
    int64_t n, segments;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        auto a = Floats<V>::load(x + row * n + column);
        const auto b = Floats<V>::load(r + segment_of(row, borders, segments) * n + column);
        for (int k = 0; k < V; ++k) a.v[k] *= b.v[k];
        a.store(y + row * n + column);
    }
};

/// A block of 32 x 8 threads has 32 columns of one sequence; its warps share the rows.
__global__ void __launch_bounds__(256) backward_r_kernel(const float* dy, const float* x, const int64_t* borders,
                                                         float* dr, int64_t n, unsigned column_blocks) {
    WAVLLM_SHARED(float, partial, [8][32]);
    const int64_t column = blockIdx.x % column_blocks * int64_t{32} + threadIdx.x, segment = blockIdx.x / column_blocks;
    float sum = 0;
    if (column < n) {
        const int64_t end = borders[segment + 1];
        for (int64_t row = borders[segment] + threadIdx.y; row < end; row += 8)
            sum = fmaf(dy[row * n + column], x[row * n + column], sum);
    }
    sum = sum_of_warps(sum, partial);
    if (threadIdx.y == 0 && column < n) dr[segment * n + column] += sum;
}

void forward(const float* x, const float* r, const int64_t* borders, float* y, int64_t rows, int64_t n,
             int64_t segments) {
    launch_cells("segment_scale", SegmentScale{x, r, borders, y, n, segments}, rows, n,
                 n % 4 == 0 && aligned<4>(x, r, y));
}

void backward_r(const float* dy, const float* x, const int64_t* borders, float* dr, int64_t n, int64_t segments) {
    const auto column_blocks = static_cast<unsigned>((n + 31) / 32);
    if (column_blocks == 0 || segments == 0) return;
    launch(backward_r_kernel,
           {.grid = dim3(column_blocks * static_cast<unsigned>(segments)),
            .block = dim3(32, 8),
            .name = "segment_scale backward of r"},
           dy, x, borders, dr, n, column_blocks);
}

WAVLLM_CUDA_BODY(segment_scale_body, forward);
WAVLLM_CUDA_BODY(segment_scale_backward_r_body, backward_r);

}  // namespace

}  // namespace wavllm::kernels
