#include "autograd/ops/add_bias.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/add_bias/add_bias.h"
#include "kernels/linear/linear.h"

namespace wavllm {

Tensor add_bias(const Tensor& x, const Tensor& bias) {
    return record("add_bias", kernels::add_bias(x, bias), {&x, &bias}, [] {
        return [](Backward& b) {
            if (b.wants(0)) b.add(0, b.dy());
            if (b.wants(1)) kernels::linear_backward_bias(b.dy(), b.accumulate(1));
        };
    });
}

DERIVATIVE(add_bias) {
    return add_bias(in[0], in[1]);
}

}  // namespace wavllm
