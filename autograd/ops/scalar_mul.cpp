#include "autograd/ops/scalar_mul.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/scalar_mul/scalar_mul.h"

namespace wavllm {

Tensor scalar_mul(const Tensor& x, const Tensor& s) {
    return record("scalar_mul", kernels::scalar_mul(x, s), {&x, &s}, [&] {
        return [x = Saved::when(requires_grad(s), x), s = Saved::when(requires_grad(x), s)](Backward& b) {
            if (b.wants(0)) b.add(0, kernels::scalar_mul(b.dy(), s.get()));
            if (b.wants(1)) kernels::scalar_mul_backward_s(b.dy(), x.get(), b.accumulate(1));
        };
    });
}

DERIVATIVE(scalar_mul) {
    return scalar_mul(in[0], in[1]);
}

}  // namespace wavllm
