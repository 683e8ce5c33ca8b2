#include "autograd/ops/silu.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/silu/silu.h"

namespace wavllm {

Tensor silu(const Tensor& x) {
    return record("silu", kernels::silu(x), {&x},
                  [&] { return [x = Saved(x)](Backward& b) { b.add(0, kernels::silu_backward(b.dy(), x.get())); }; });
}

DERIVATIVE(silu) {
    return silu(in[0]);
}

}  // namespace wavllm
