#include "autograd/ops/weighted_sum.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/weighted_sum/weighted_sum.h"

namespace wavllm {

Tensor weighted_sum(const Tensor& x, const Tensor& w) {
    return record("weighted_sum", kernels::weighted_sum(x, w), {&x, &w}, [&] {
        return [x = Saved::when(requires_grad(w), x), w = Saved(w)](Backward& b) {
            if (b.wants(0)) b.add(0, kernels::weighted_sum_backward_x(b.dy(), w.get()));
            if (b.wants(1)) kernels::weighted_sum_backward_w(b.dy(), x.get(), w.get(), b.accumulate(1));
        };
    });
}

DERIVATIVE(weighted_sum) {
    return weighted_sum(in[0], in[1]);
}

}  // namespace wavllm
