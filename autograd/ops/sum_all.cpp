#include "autograd/ops/sum_all.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/sum_all/sum_all.h"

namespace wavllm {

Tensor sum_all(const Tensor& x) {
    return record("sum_all", kernels::sum_all(x), {&x}, [&] {
        return [shape = x.shape()](Backward& b) { b.add(0, kernels::sum_all_backward(b.dy(), shape)); };
    });
}

DERIVATIVE(sum_all) {
    return sum_all(in[0]);
}

}  // namespace wavllm
