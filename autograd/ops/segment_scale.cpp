#include "autograd/ops/segment_scale.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "kernels/segment_scale/segment_scale.h"

namespace wavllm {

Tensor segment_scale(const Tensor& x, const Tensor& r, const Tensor& borders) {
    return record("segment_scale", kernels::segment_scale(x, r, borders), {&x, &r}, [&] {
        return [x = Saved::when(requires_grad(r), x), r = Saved::when(requires_grad(x), r),
                borders = Saved(borders)](Backward& b) {
            if (b.wants(0)) b.add(0, kernels::segment_scale(b.dy(), r.get(), borders.get()));
            if (b.wants(1)) kernels::segment_scale_backward_r(b.dy(), x.get(), borders.get(), b.accumulate(1));
        };
    });
}

DERIVATIVE(segment_scale) {
    return segment_scale(in[0], in[1], kernels::make_borders(p.list("lengths")));
}

}  // namespace wavllm
