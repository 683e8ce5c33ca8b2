#include "autograd/ops/group_norm.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "kernels/group_norm/group_norm.h"

namespace wavllm {

Tensor group_norm(const Tensor& x, const Tensor& borders, const Tensor& w, const Tensor& b, int64_t groups,
                  double eps) {
    const kernels::GroupNorm forward = kernels::group_norm(x, borders, w, b, groups, eps);
    return record("group_norm", forward.y, {&x, &w, &b}, [&] {
        return [x = Saved(x), w = Saved(w), borders = Saved(borders), moments = Saved(forward.moments),
                groups](Backward& back) {
            Tensor* dw = back.wants(1) ? &back.accumulate(1) : nullptr;
            Tensor* db = back.wants(2) ? &back.accumulate(2) : nullptr;
            Tensor dx = kernels::group_norm_backward(back.dy(), x.get(), borders.get(), w.get(), moments.get(), groups,
                                                     back.wants(0), dw, db);
            if (back.wants(0)) back.add(0, std::move(dx));
        };
    });
}

DERIVATIVE(group_norm) {
    return group_norm(in[0], kernels::make_borders(p.list("lengths")), in[1], in[2], p.i("groups"), p.number("eps"));
}

}  // namespace wavllm
