#include "autograd/ops/ctc_loss.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/common/loops.h"
#include "kernels/ctc_loss/ctc_loss.h"
#include "kernels/scale/scale.h"

namespace wavllm {

namespace {

/// x <- x * s, in its own memory: nobody else holds the gradient, and a copy would be as large as the logits.
Tensor scaled_in_place(Tensor x, float s) {
    if (s == 1.0f) return x;
    if (x.device() != Device::cpu) return kernels::scale(x, s);
    float* p = x.mutable_data<float>();
    kernels::for_elements(x.numel(), [=](int64_t i, auto n) { kernels::store(p + i, kernels::load(p + i, n) * s, n); });
    return x;
}

}  // namespace

CtcLoss ctc_loss(const Tensor& token_logits, const Tensor& blank_logits, const Tensor& borders, const Tensor& targets,
                 const Tensor& target_borders, double normalizer) {
    if (!(normalizer > 0)) throw UsageError("ctc_loss: the normalizer must be above 0, but is {}", normalizer);
    const bool want_gradient = grad_enabled() && (requires_grad(token_logits) || requires_grad(blank_logits));
    const auto result = kernels::ctc_loss(token_logits, blank_logits, borders, targets, target_borders,
                                          static_cast<float>(1 / normalizer), want_gradient);
    const Tensor on_cpu = result.losses.to(Device::cpu);  // the mean is a number to log, and stays there
    const float* losses = on_cpu.data<float>();
    double sum = 0;
    for (int64_t i = 0; i < result.losses.numel(); ++i) sum += losses[i];
    const Tensor loss = record("ctc_loss", Tensor::full({1}, sum / normalizer), {&token_logits, &blank_logits}, [&] {
        return [dtokens = Saved(result.dtokens), dblank = Saved(result.dblank)](Backward& b) {
            const auto dy = static_cast<float>(b.dy().item());
            if (b.wants(0)) b.add(0, scaled_in_place(dtokens.get(), dy));
            if (b.wants(1)) b.add(1, scaled_in_place(dblank.get(), dy));
        };
    });
    return {loss, result.losses, result.infeasible};
}

DERIVATIVE(ctc_loss) {
    const auto borders = [&](const char* name) { return kernels::make_borders(p.list(name)); };
    return ctc_loss(in[0], in[1], borders("rows"), in[2], borders("lengths"), p.number("normalizer")).loss;
}

}  // namespace wavllm
