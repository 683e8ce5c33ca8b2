#include "autograd/ops/scale.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/scale/scale.h"

namespace wavllm {

Tensor scale(const Tensor& x, double s) {
    return record("scale", kernels::scale(x, s), {&x},
                  [s] { return [s](Backward& b) { b.add(0, kernels::scale(b.dy(), s)); }; });
}

DERIVATIVE(scale) {
    return scale(in[0], p.number("s"));
}

}  // namespace wavllm
