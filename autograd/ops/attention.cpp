#include "autograd/ops/attention.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "kernels/common/fusion.h"

namespace wavllm {

WAVLLM_FUSION(attention, "matmul, softmax, matmul");

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout,
                 const AttentionBias& bias) {
    if (!fused("attention")) return attention_composed(q, k, v, layout, bias);
    kernels::AttentionForward forward = kernels::attention(q, k, v, layout, bias);
    return record("attention", forward.y, {&q, &k, &v, &bias.gate, &bias.by_distance}, [&] {
        return [q = Saved(q), k = Saved(k), v = Saved(v), y = Saved(forward.y), lse = Saved(forward.log_sum_exp),
                gate = Saved(bias.gate), by_distance = Saved(bias.by_distance), layout](Backward& b) {
            const kernels::AttentionWants wants{.dq = b.wants(0),
                                                .dkv = b.wants(1) || b.wants(2),
                                                .dgate = b.wants(3),
                                                .dby_distance = b.wants(4) ? &b.accumulate(4) : nullptr};
            kernels::AttentionGradients g =
                kernels::attention_backward(b.dy(), q.get(), k.get(), v.get(), {y.get(), lse.get()}, layout, wants,
                                            {gate.get(), by_distance.get()});
            if (b.wants(3)) b.add(3, std::move(g.dgate));
            if (b.wants(0)) b.add(0, std::move(g.dq));
            if (b.wants(1)) b.add(1, std::move(g.dk));
            if (b.wants(2)) b.add(2, std::move(g.dv));
        };
    });
}

DERIVATIVE(attention) {
    return attention(in[0], in[1], in[2],
                     {kernels::make_borders(p.list("q_lengths")), kernels::make_borders(p.list("k_lengths")),
                      p.flag("causal") ? AttentionMask::causal : AttentionMask::full, p.number("scale"),
                      p.flag("bf16") ? DType::bf16 : DType::f32},
                     in.size() > 3 ? AttentionBias{in[3], in[4]} : AttentionBias{});
}

}  // namespace wavllm
