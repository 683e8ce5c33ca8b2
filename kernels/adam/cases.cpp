#include "kernels/adam/adam.h"
#include "kernels/common/op_case.h"

namespace wavllm {

OP_CASES(adam) {
    op.same_bits = true;
    op.has_gradient = false;
    op.forward = [](Inputs in, const Params& p) {
        Tensor param = in[0].clone(), m = in[2].clone(), v = in[3].clone();
        const AdamConfig config{p.number("beta1"), p.number("beta2"), p.number("eps"), p.number("weight_decay")};
        kernels::adam_step(param, in[1], m, v, config, p.f("lr"), p.i("step"), p.f("grad_scale"));
        return param;
    };
    // The biased moments divided by their corrections, as the paper writes it.
    op.reference = [](Inputs64 in, const Params& p) {
        Array64 y = in[0];
        const double beta1 = p.number("beta1"), beta2 = p.number("beta2"), lr = p.number("lr"), t = p.number("step");
        for (int64_t i = 0; i < y.shape.numel(); ++i) {
            const double g = in[1][i] * p.number("grad_scale");
            const double m = beta1 * in[2][i] + (1 - beta1) * g, v = beta2 * in[3][i] + (1 - beta2) * g * g;
            const double m_hat = m / (1 - std::pow(beta1, t)), v_hat = v / (1 - std::pow(beta2, t));
            y[i] -= lr * p.number("weight_decay") * y[i];
            y[i] -= lr * m_hat / (std::sqrt(v_hat) + p.number("eps"));
        }
        return y;
    };

    const auto one = [&](const char* name, const Shape& shape, double step, double weight_decay, double grad_scale,
                         double moments, bool bench = false) {
        Tensor v = random(shape, 0.1 * moments);
        for (float& x : std::span(v.mutable_data<float>(), static_cast<size_t>(v.numel()))) x *= x;
        op.add({.name = name,
                .inputs = {random(shape), random(shape, 0.1), random(shape, 0.1 * moments), v},
                .params = {{"beta1", 0.9},
                           {"beta2", 0.98},
                           {"eps", 1e-8},
                           {"weight_decay", weight_decay},
                           {"lr", 0.01},
                           {"step", step},
                           {"grad_scale", grad_scale}},
                .bytes = 7.0 * 4 * static_cast<double>(shape.numel()),
                .bench = bench});
    };
    one("first step", {3, 7}, 1, 0, 1, 0);
    one("later, decay and clipping", {5, 33}, 120, 0.01, 0.25, 1);
    one("several chunks", {170, 101}, 5, 0.1, 1, 1);
    op.add({.name = "no gradient, no moments: eps keeps it from 0/0",
            .inputs = {random({20}), Tensor::zeros({20}), Tensor::zeros({20}), Tensor::zeros({20})},
            .params = op.cases.front().params});
    one("1 M parameters", {1024, 1024}, 100, 0.01, 1, 1, true);
}

}  // namespace wavllm
