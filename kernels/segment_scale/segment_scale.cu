#include "kernels/common/borders.cuh"
#include "kernels/common/elementwise.cuh"
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
        const auto b = Floats<V>::load(r + part_of(borders, segments, row) * n + column);
        for (int k = 0; k < V; ++k) a.v[k] *= b.v[k];
        a.store(y + row * n + column);
    }
};

void forward(const float* x, const float* r, const int64_t* borders, float* y, int64_t rows, int64_t n,
             int64_t segments) {
    launch_cells("segment_scale", SegmentScale{x, r, borders, y, n, segments}, rows, n,
                 n % 4 == 0 && aligned<4>(x, r, y));
}

WAVLLM_CUDA_BODY(segment_scale_body, forward);

}  // namespace

}  // namespace wavllm::kernels
