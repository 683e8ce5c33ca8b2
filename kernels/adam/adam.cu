#include "kernels/adam/adam_body.h"
#include "kernels/common/borders.cuh"
#include "kernels/common/elementwise.cuh"

namespace wavllm::kernels {

namespace {

/// One launch for many tensors of different sizes: LoRA has hundreds of small ones, and a launch for each would take longer
/// than its work. Its arguments (4 KiB) hold a table of them and of the block at which each one's begin.
struct Table {
    static constexpr int kMost = 48;
    AdamSlice slice[kMost];
    int64_t first_block[kMost + 1];
    int count = 0;
    bool wide = true;
};

template <int V>
__device__ __forceinline__ void update(const AdamSlice& s, int64_t i) {
    const AdamFactors& f = s.factors;
    auto p = Floats<V>::load(s.param + i), m = Floats<V>::load(s.m + i), v = Floats<V>::load(s.v + i);
    const auto grad = Floats<V>::load(s.grad + i);
    for (int k = 0; k < V; ++k) {
        const float g = grad.v[k] * f.grad_scale;
        m.v[k] = fmaf(f.one_minus_beta1, g - m.v[k], m.v[k]);
        v.v[k] = fmaf(f.one_minus_beta2 * g, g, f.beta2 * v.v[k]);
    }
    m.store(s.m + i);
    v.store(s.v + i);
    for (int k = 0; k < V; ++k) {  // after the stores: square root and division need the registers
        const float root = fmaf(sqrtf(v.v[k]), f.inverse_root, f.eps);
        p.v[k] = p.v[k] * f.keep - f.rate * m.v[k] / root;
    }
    p.store(s.param + i);
}

template <int V>
__global__ void __launch_bounds__(kElementThreads) adam_kernel(const Table table) {
    const int64_t at = part_of(table.first_block, table.count, blockIdx.x);
    const AdamSlice& s = table.slice[at];
    const int64_t i = ((blockIdx.x - table.first_block[at]) * kElementThreads + threadIdx.x) * V;
    if (i + V <= s.n) {
        update<V>(s, i);
    } else {
        for (int64_t j = i; j < s.n; ++j) update<1>(s, j);
    }
}

void launch_table(Table& table) {
    const int64_t step = kElementThreads * (table.wide ? 4 : 1);
    int64_t blocks = 0;
    for (int i = 0; i < table.count; ++i) {
        table.first_block[i] = blocks;
        blocks += (table.slice[i].n + step - 1) / step;
    }
    if (blocks > 0)
        launch(table.wide ? adam_kernel<4> : adam_kernel<1>,
               {.grid = dim3(static_cast<unsigned>(blocks)), .block = kElementThreads, .name = "adam"}, table);
    table.count = 0;
    table.wide = true;
}

void adam(const AdamSlice* slices, int64_t count) {
    Table table;
    for (int64_t i = 0; i < count; ++i) {
        const AdamSlice& s = slices[i];
        if (s.n == 0) continue;
        table.slice[table.count++] = s;
        table.wide = table.wide && aligned<4>(s.param, s.grad, s.m, s.v);
        if (table.count == Table::kMost) launch_table(table);
    }
    launch_table(table);
}

WAVLLM_CUDA_BODY(adam_body, adam);

}  // namespace

}  // namespace wavllm::kernels
