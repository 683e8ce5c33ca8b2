#include "kernels/common/elementwise.cuh"
#include "kernels/common/formats.cuh"
#include "kernels/embedding/embedding_body.h"

namespace wavllm::kernels {

namespace {

template <class Format>
struct Lookup {
    const char* table;
    const int32_t* ids;
    float* y;
    int64_t d;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        Format::template load<V>(table + ids[row] * Format::row_bytes(d), column).store(y + row * d + column);
    }
};

template <class Format>
void look_up(const void* table, const int32_t* ids, float* y, int64_t rows, int64_t d, bool wide) {
    launch_cells("embedding", Lookup<Format>{static_cast<const char*>(table), ids, y, d}, rows, d, wide);
}

/// Rows of blocks are multiples of 32 long, so only fours are needed.
template <class Format>
void look_up_blocks(const void* table, const int32_t* ids, float* y, int64_t rows, int64_t d) {
    launch_fours("embedding", Lookup<Format>{static_cast<const char*>(table), ids, y, d}, rows, d);
}

void forward(const void* table, DType dtype, const int32_t* ids, float* y, int64_t rows, int64_t d) {
    const bool fours = d % 4 == 0 && aligned<4>(y);
    const auto* halves = static_cast<const uint16_t*>(table);
    switch (dtype) {
        case DType::f32:
            return look_up<F32Rows>(table, ids, y, rows, d, fours && aligned<4>(static_cast<const float*>(table)));
        case DType::bf16: return look_up<HalfRows<false>>(table, ids, y, rows, d, fours && aligned<4>(halves));
        case DType::f16: return look_up<HalfRows<true>>(table, ids, y, rows, d, fours && aligned<4>(halves));
        case DType::q8_0: return look_up_blocks<Q8Rows>(table, ids, y, rows, d);
        default: return look_up_blocks<Q4Rows>(table, ids, y, rows, d);  // the op takes no other
    }
}

WAVLLM_CUDA_BODY(embedding_body, forward);

}  // namespace

}  // namespace wavllm::kernels
