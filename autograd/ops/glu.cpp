#include "autograd/ops/glu.h"

#include "autograd/derivative.h"
#include "autograd/ops/columns.h"
#include "autograd/ops/mul.h"
#include "autograd/ops/sigmoid.h"
#include "autograd/tape.h"
#include "kernels/common/fusion.h"
#include "kernels/glu/glu.h"

namespace wavllm {

WAVLLM_FUSION(glu, "slice_columns, sigmoid, mul");

namespace {

Tensor glu_composed(const Tensor& x) {
    const int64_t c = x.shape().last() / 2;
    return mul(slice_columns(x, 0, c), sigmoid(slice_columns(x, c, 2 * c)));
}

}  // namespace

Tensor glu(const Tensor& x) {
    if (!fused("glu")) return glu_composed(x);
    return record("glu", kernels::glu(x), {&x},
                  [&] { return [x = Saved(x)](Backward& b) { b.add(0, kernels::glu_backward(b.dy(), x.get())); }; });
}

DERIVATIVE(glu) {
    return glu(in[0]);
}

}  // namespace wavllm
