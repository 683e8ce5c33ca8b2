#include "autograd/ops/rms_norm.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/rms_norm/rms_norm.h"

namespace wavllm {

Tensor rms_norm(const Tensor& x, const Tensor& w, double eps) {
    return record("rms_norm", kernels::rms_norm(x, w, eps), {&x, &w}, [&] {
        return [x = Saved(x), w = Saved(w), eps](Backward& b) {
            if (b.wants(0)) b.add(0, kernels::rms_norm_backward_x(b.dy(), x.get(), w.get(), eps));
            if (b.wants(1)) kernels::rms_norm_backward_w(b.dy(), x.get(), eps, b.accumulate(1));
        };
    });
}

DERIVATIVE(rms_norm) {
    return rms_norm(in[0], in[1], p.number("eps"));
}

}  // namespace wavllm
