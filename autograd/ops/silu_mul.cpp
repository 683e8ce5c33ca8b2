#include "autograd/ops/silu_mul.h"

#include "autograd/derivative.h"
#include "autograd/ops/columns.h"
#include "autograd/ops/mul.h"
#include "autograd/ops/silu.h"
#include "autograd/tape.h"
#include "kernels/common/fusion.h"
#include "kernels/silu_mul/silu_mul.h"

namespace wavllm {

WAVLLM_FUSION(silu_mul, "slice_columns, silu, mul");

namespace {

Tensor silu_mul_composed(const Tensor& gate_up) {
    const int64_t f = gate_up.shape().last() / 2;
    return mul(silu(slice_columns(gate_up, 0, f)), slice_columns(gate_up, f, 2 * f));
}

}  // namespace

Tensor silu_mul(const Tensor& gate_up) {
    if (!fused("silu_mul")) return silu_mul_composed(gate_up);
    return record("silu_mul", kernels::silu_mul(gate_up), {&gate_up}, [&] {
        return [gate_up = Saved(gate_up)](Backward& b) { b.add(0, kernels::silu_mul_backward(b.dy(), gate_up.get())); };
    });
}

DERIVATIVE(silu_mul) {
    return silu_mul(in[0]);
}

}  // namespace wavllm
