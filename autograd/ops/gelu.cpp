#include "autograd/ops/gelu.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/gelu/gelu.h"

namespace wavllm {

Tensor gelu(const Tensor& x) {
    return record("gelu", kernels::gelu(x), {&x},
                  [&] { return [x = Saved(x)](Backward& b) { b.add(0, kernels::gelu_backward(b.dy(), x.get())); }; });
}

DERIVATIVE(gelu) {
    return gelu(in[0]);
}

}  // namespace wavllm
