#include "autograd/ops/layer_norm.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/layer_norm/layer_norm.h"

namespace wavllm {

Tensor layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
    return record("layer_norm", kernels::layer_norm(x, w, b, eps), {&x, &w, &b}, [&] {
        const bool needs_x = requires_grad(x) || requires_grad(w);
        return [x = Saved::when(needs_x, x), w = Saved::when(requires_grad(x), w), eps](Backward& back) {
            if (back.wants(0)) back.add(0, kernels::layer_norm_backward_x(back.dy(), x.get(), w.get(), eps));
            if (back.wants(1)) kernels::layer_norm_backward_w(back.dy(), x.get(), eps, back.accumulate(1));
            if (back.wants(2)) kernels::layer_norm_backward_b(back.dy(), back.accumulate(2));
        };
    });
}

DERIVATIVE(layer_norm) {
    return layer_norm(in[0], in[1], in[2], p.number("eps"));
}

}  // namespace wavllm
