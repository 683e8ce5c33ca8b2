#include "autograd/ops/linear.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/linear/case_weights.h"
#include "kernels/linear/linear.h"

namespace wavllm {

Tensor linear(const Tensor& x, const PackedWeight& w, const Tensor& bias) {
    return record("linear", kernels::linear(x, w, bias), {&x, &bias}, [&] {
        return [w](Backward& b) {
            if (b.wants(0)) b.add(0, kernels::linear_backward_x(b.dy(), w));
            if (b.wants(1)) kernels::linear_backward_bias(b.dy(), b.accumulate(1));
        };
    });
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
    return record("linear", kernels::linear(x, w, bias), {&x, &w, &bias}, [&] {
        return [x = Saved::when(requires_grad(w), x), w = Saved::when(requires_grad(x), w)](Backward& b) {
            if (b.wants(0)) b.add(0, kernels::linear_backward_x(b.dy(), w.get()));
            if (b.wants(1)) kernels::linear_backward_w(b.dy(), x.get(), b.accumulate(1));
            if (b.wants(2)) kernels::linear_backward_bias(b.dy(), b.accumulate(2));
        };
    });
}

DERIVATIVE(linear) {
    const Tensor bias = in.size() > 2 ? in[2] : Tensor();
    if (!p.flag("packed")) return linear(in[0], in[1], bias);
    return linear(in[0], packed_once(in[1].detach(), packed_dtype(p)), bias);
}

}  // namespace wavllm
