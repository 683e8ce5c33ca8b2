#include "kernels/common/elementwise.cuh"
#include "kernels/dropout/mask.cuh"

namespace wavllm::kernels {

namespace {

struct Dropout {
    const float* x;
    const int64_t* row_keys;
    float* y;
    int64_t d;
    DropoutMask mask;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        const uint4 bits = dropout_bits(mask, row_keys[row], column / 4);
        auto a = Floats<V>::load(x + row * d + column);
        if constexpr (V == 4) {
            a.v[0] = drop(mask, bits.x, a.v[0]);
            a.v[1] = drop(mask, bits.y, a.v[1]);
            a.v[2] = drop(mask, bits.z, a.v[2]);
            a.v[3] = drop(mask, bits.w, a.v[3]);
        } else {  // four threads make the same four words, and each takes one
            const int at = static_cast<int>(column % 4);
            a.v[0] = drop(mask, at < 2 ? (at == 0 ? bits.x : bits.y) : (at == 2 ? bits.z : bits.w), a.v[0]);
        }
        a.store(y + row * d + column);
    }
};

void forward(const float* x, const int64_t* row_keys, float* y, int64_t rows, int64_t d, const DropoutMask& mask) {
    launch_cells("dropout", Dropout{x, row_keys, y, d, mask}, rows, d, d % 4 == 0 && aligned<4>(x, y));
}

WAVLLM_CUDA_BODY(dropout_body, forward);

}  // namespace

}  // namespace wavllm::kernels
