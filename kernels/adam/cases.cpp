#include "kernels/adam/adam.h"
#include "kernels/common/op_case.h"

namespace wavllm {

OP_CASES(adam) {
    op.same_bits = true;
    op.has_gradient = false;
    op.forward = [](Inputs in, const Params& p) {
        Tensor param = in[0].clone(), m = in[2].clone(), v = in[3].clone();
        const AdamConfig config{p.number("beta1"), p.number("beta2"), p.number("eps"), p.number("weight_decay")};
        kernels::adam_step(param, in[1], m, v, config, p.number("lr"), p.i("step"), p.number("grad_scale"));
        return param;
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
