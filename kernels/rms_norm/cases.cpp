#include "kernels/common/op_case.h"
#include "kernels/rms_norm/rms_norm.h"

namespace wavllm {

OP_CASES(rms_norm) {
    op.forward = [](Inputs in, const Params& p) { return kernels::rms_norm(in[0], in[1], p.number("eps")); };

    const auto one = [&](const char* name, const Shape& shape, double eps, double scale = 1, bool bench = false) {
        const double n = static_cast<double>(shape.numel()), d = static_cast<double>(shape.last());
        op.add({.name = name,
                .inputs = {random(shape, scale), random({shape.last()}, 0.2, 1.0)},
                .params = {{"eps", eps}},
                .bytes = 4 * (2 * n + d),
                .flops = 4 * n,
                .bench = bench});
    };
    one("one element", {1, 1}, 1e-5);
    op.cases.back().gradient_tolerance =
        1e-3;  // the true gradient is a difference of equal terms, about 1e-5 of either
    one("no multiple of the vector width", {3, 7}, 1e-6);
    one("smollm2 row", {4, 576}, 1e-5);
    one("three dimensions", {2, 5, 100}, 1e-5);
    one("tiny values, eps decides", {3, 33}, 1e-5, 1e-4);
    one("huge values", {3, 33}, 1e-5, 1e6);
    op.add({.name = "row of zeros", .inputs = {Tensor::zeros({2, 40}), random({40})}, .params = {{"eps", 1e-5}}});
    one("640x576", {640, 576}, 1e-5, 1, true);
    one("512x4096", {512, 4096}, 1e-5, 1, true);
}

}  // namespace wavllm
