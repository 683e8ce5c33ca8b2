#include "kernels/common/ladder.h"

#include "kernels/attention/on_device.h"
#include "kernels/attention/steps/steps.h"
#include "kernels/common/check.h"
#include "kernels/common/on_device.h"

namespace wavllm {

namespace {

AttentionLayout layout_of(const Params& p, DType products) {
    return {kernels::make_borders(p.list("q_lengths")), kernels::make_borders(p.list("k_lengths")),
            p.flag("causal") ? AttentionMask::causal : AttentionMask::full, p.f("scale"), products};
}

}  // namespace

LADDER(attention) {
    ladder.takes = [](const OpCase& c) { return !c.params.flag("bf16") && c.inputs.size() == 3; };
    const auto by = [](const kernels::AttentionStepBody& body) {
        return [&body](Inputs in, const Params& p) {
            const Tensor &q = in[0], &k = in[1], &v = in[2];
            const AttentionLayout layout = layout_of(p, DType::f32);
            const auto sizes = kernels::detail::attention_sizes("attention", q, k, v, layout);
            Tensor y = Tensor::empty({q.dim(0), q.dim(1) * q.dim(2)}, DType::f32, q.device()),
                   log_sum_exp = Tensor::empty({q.dim(0), q.dim(1)}, DType::f32, q.device());
            kernels::on(body, q.device())(kernels::detail::describe_attention(q, k, v, layout, sizes),
                                          y.mutable_device_data<float>(), log_sum_exp.mutable_device_data<float>());
            return y;
        };
    };
    ladder.step("naive", "a thread a row, three passes over the keys", by(kernels::attention_naive_body));
    ladder.step("online", "a warp a row, one pass with a running maximum", by(kernels::attention_online_body));
    ladder.step("attention, f32", "a tile of rows shares what it reads (attention.cu)", ops().at("attention").forward);
    ladder.step(
        "attention, bf16", "the same on tensor cores (attention_bf16.cu)",
        [](Inputs in, const Params& p) { return kernels::attention(in[0], in[1], in[2], layout_of(p, DType::bf16)).y; },
        true);
}

}  // namespace wavllm
