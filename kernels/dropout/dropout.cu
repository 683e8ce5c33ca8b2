#include "kernels/common/dropout_mask.cuh"
#include "kernels/common/elementwise.cuh"
#include "kernels/dropout/dropout_body.h"

namespace wavllm::kernels {

namespace {

struct Dropout {
    const float* x;
    float* y;
    int64_t d;
    DropoutMask mask;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        uint32_t bits[4];
        mask_bits(mask, row, column / 4, bits);
        auto a = Floats<V>::load(x + row * d + column);
        if constexpr (V == 4) {
            for (int k = 0; k < 4; ++k) a.v[k] = drop(mask, bits[k], a.v[k]);
        } else {  // four threads make the same four words, and each takes one
            a.v[0] = drop(mask, word_of(bits, column), a.v[0]);
        }
        a.store(y + row * d + column);
    }
};

void forward(const float* x, float* y, int64_t rows, int64_t d, const DropoutMask& mask) {
    launch_cells("dropout", Dropout{x, y, d, mask}, rows, d, d % 4 == 0 && aligned<4>(x, y));
}

WAVLLM_CUDA_BODY(dropout_body, forward);

}  // namespace

}  // namespace wavllm::kernels
