#include "autograd/ops/mul.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/mul/mul.h"

namespace wavllm {

Tensor mul(const Tensor& a, const Tensor& b) {
    return record("mul", kernels::mul(a, b), {&a, &b}, [&] {
        return [a = Saved::when(requires_grad(b), a), b = Saved::when(requires_grad(a), b)](Backward& back) {
            if (back.wants(0)) back.add(0, kernels::mul(back.dy(), b.get()));
            if (back.wants(1)) back.add(1, kernels::mul(back.dy(), a.get()));
        };
    });
}

DERIVATIVE(mul) {
    return mul(in[0], in[1]);
}

}  // namespace wavllm
