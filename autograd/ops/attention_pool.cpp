#include "autograd/ops/attention_pool.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/attention_pool/attention_pool.h"
#include "kernels/common/check.h"

namespace wavllm {

Tensor attention_pool(const Tensor& x, const Tensor& scores, const Tensor& borders) {
    const kernels::AttentionPool forward = kernels::attention_pool(x, scores, borders);
    return record("attention_pool", forward.y, {&x, &scores}, [&] {
        return [x = Saved::when(requires_grad(scores), x), weights = Saved(forward.weights), borders = Saved(borders),
                shape = scores.shape()](Backward& b) {
            if (b.wants(0)) b.add(0, kernels::attention_pool_backward_x(b.dy(), weights.get(), borders.get()));
            if (b.wants(1))
                b.add(1, kernels::attention_pool_backward_scores(b.dy(), x.get(), weights.get(), borders.get())
                             .reshape(shape));
        };
    });
}

DERIVATIVE(attention_pool) {
    return attention_pool(in[0], in[1], kernels::make_borders(p.list("lengths")));
}

}  // namespace wavllm
