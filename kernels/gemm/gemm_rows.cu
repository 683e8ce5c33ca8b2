// What stands around the product: rounding of rows (with dropout and strength on the way), and widening of frozen formats.

#include "kernels/common/dropout_mask.cuh"
#include "kernels/common/floats.cuh"
#include "kernels/gemm/lines.cuh"

namespace wavllm::kernels {

namespace {

constexpr int kThreads = 256;

unsigned blocks_of(int64_t items) {
    return static_cast<unsigned>((items + kThreads - 1) / kThreads);
}

/// V neighbouring columns a thread.
template <int V>
__global__ void rows_pass_kernel(RowsPass p) {
    const int64_t groups = (p.out_stride + V - 1) / V, at = blockIdx.x * int64_t{kThreads} + threadIdx.x;
    if (at >= p.rows * groups) return;
    const int64_t row = at / groups, column = at % groups * V;
    const float* from = static_cast<const float*>(p.in.data) + row * p.in.stride;
    int64_t lo = 0, hi = p.columns;
    if (p.in.windows != nullptr) {
        const Window w = load_window(p.in.windows + row);
        from = static_cast<const float*>(p.in.data) + w.begin;
        lo = w.lo;
        hi = w.hi;
    }
    Floats<V> v;
    for (int j = 0; j < V; ++j) v.v[j] = 0;
    if (column >= lo && column < hi) v = Floats<V>::load(from + column);  // both are multiples of V
    if (p.mask.row_keys != nullptr) {
        uint32_t bits[4];
        mask_bits(p.mask, row, column / 4, bits);
        if (V == 4) {
            for (int j = 0; j < V; ++j) v.v[j] = drop(p.mask, bits[j], v.v[j]);
        } else {
            v.v[0] = drop(p.mask, word_of(bits, column), v.v[0]);
        }
    }
    if (p.scale.r != nullptr && column < p.columns) {
        const auto r = Floats<V>::load(p.scale.r + request_of(p.scale, row) * p.columns + column);
        for (int j = 0; j < V; ++j) v.v[j] *= r.v[j];
    }
    for (int j = 0; j < V; ++j) v.v[j] *= p.scale.s;
    if (p.dtype == DType::f32) return v.store(static_cast<float*>(p.out) + row * p.out_stride + column);
    uint16_t* to = static_cast<uint16_t*>(p.out) + row * p.out_stride + column;
    uint16_t rounded[V];
    for (int j = 0; j < V; ++j) rounded[j] = __bfloat16_as_ushort(__float2bfloat16_rn(v.v[j]));
    if constexpr (V == 4)
        *reinterpret_cast<ushort4*>(to) = make_ushort4(rounded[0], rounded[1], rounded[2], rounded[3]);
    else
        *to = rounded[0];
}

void rows_pass(const RowsPass& p) {
    if (p.rows == 0 || p.out_stride == 0) return;
    const bool wide = reinterpret_cast<uintptr_t>(p.in.data) % 16 == 0 && p.in.stride % 4 == 0 && p.columns % 4 == 0 &&
                      p.out_stride % 4 == 0 && reinterpret_cast<uintptr_t>(p.scale.r) % 16 == 0;
    if (wide)
        launch(rows_pass_kernel<4>,
               {.grid = blocks_of(p.rows * (p.out_stride / 4)), .block = kThreads, .name = "rounding of rows"}, p);
    else
        launch(rows_pass_kernel<1>,
               {.grid = blocks_of(p.rows * p.out_stride), .block = kThreads, .name = "rounding of rows"}, p);
}

WAVLLM_CUDA_BODY(rows_pass_body, rows_pass);

}  // namespace

}  // namespace wavllm::kernels
