#include "autograd/ops/cross_entropy.h"

#include "autograd/derivative.h"
#include "autograd/ops/linear.h"
#include "autograd/tape.h"
#include "kernels/common/fusion.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/scale/scale.h"

namespace wavllm {

WAVLLM_FUSION(cross_entropy, "linear, cross_entropy_logits");

namespace {

/// Sum over the rows in order, in double. It stays on the CPU, wherever the losses are: it is a number to log.
Tensor total(const Tensor& losses, double normalizer) {
    const Tensor on_cpu = losses.to(Device::cpu);
    double sum = 0;
    if (losses.dtype() == DType::f64)
        for (int64_t i = 0; i < losses.numel(); ++i) sum += on_cpu.data<double>()[i];
    else
        for (int64_t i = 0; i < losses.numel(); ++i) sum += on_cpu.data<float>()[i];
    return Tensor::full({1}, sum / normalizer, losses.dtype());
}

CrossEntropy from_logits(const Tensor& logits, const Tensor& targets, double normalizer) {
    const Tensor losses = kernels::cross_entropy_logits(logits, targets);
    const Tensor loss = record("cross_entropy_logits", total(losses, normalizer), {&logits}, [&] {
        return [z = Saved(logits), t = Saved(targets), normalizer](Backward& b) {
            const Tensor dl =
                Tensor::full({t.get().numel()}, b.dy().item() / normalizer, z.get().dtype(), z.get().device());
            b.add(0, kernels::cross_entropy_logits_backward(z.get(), t.get(), dl));
        };
    });
    return {loss, losses};
}

}  // namespace

CrossEntropy cross_entropy(const Tensor& x, const PackedWeight& head, const Tensor& targets, double normalizer) {
    if (!fused("cross_entropy")) return from_logits(linear(x, head), targets, normalizer);
    const bool want_dx = grad_enabled() && requires_grad(x);
    const auto result = kernels::cross_entropy(x, head, targets, 1 / normalizer, want_dx);
    const Tensor loss = record("cross_entropy", total(result.losses, normalizer), {&x}, [&] {
        return [dx = Saved(result.dx)](Backward& b) {
            const double dy = b.dy().item();
            b.add(0, dy == 1 ? dx.get() : kernels::scale(dx.get(), dy));
        };
    });
    return {loss, result.losses};
}

CrossEntropy cross_entropy(const Tensor& x, const Tensor& head, const Tensor& targets, double normalizer) {
    return from_logits(linear(x, head), targets, normalizer);
}

DERIVATIVE(cross_entropy) {
    const DType dtype = p.flag("bf16") ? DType::bf16 : DType::f32;
    return cross_entropy(in[0], packed_once(in[1].detach(), dtype), in[2], static_cast<double>(in[0].rows())).loss;
}

DERIVATIVE(cross_entropy_logits) {
    const Tensor &logits = in[0], &targets = in[1];
    return record("cross_entropy_logits", kernels::cross_entropy_logits(logits, targets), {&logits}, [&] {
        return [z = Saved(logits), t = Saved(targets)](Backward& b) {
            b.add(0, kernels::cross_entropy_logits_backward(z.get(), t.get(), b.dy()));
        };
    });
}

}  // namespace wavllm
