#include "kernels/common/op_case.h"
#include "kernels/layer_norm/layer_norm.h"

namespace wavllm {

OP_CASES(layer_norm) {
    op.forward = [](Inputs in, const Params& p) { return kernels::layer_norm(in[0], in[1], in[2], p.number("eps")); };

    const auto one = [&](const char* name, const Shape& shape, double scale = 1, double offset = 0,
                         bool bench = false) {
        const double n = static_cast<double>(shape.numel()), d = static_cast<double>(shape.last());
        op.add({.name = name,
                .inputs = {random(shape, scale, offset), random({shape.last()}, 0.2, 1.0), random({shape.last()}, 0.1)},
                .params = {{"eps", 1e-5}},
                .bytes = 4 * (2 * n + 2 * d),
                .flops = 8 * n,
                .bench = bench});
    };
    one("one column", {3, 1});
    one("no multiple of the vector width", {3, 7});
    one("whisper row", {4, 512});
    one("three dimensions", {2, 5, 100});
    one("tiny values, eps decides", {3, 33}, 1e-4);
    one("huge values", {3, 33}, 1e6);
    one("far from zero", {3, 48}, 1.0, 100.0);
    op.cases.back().tolerance = 3e-5;  // x itself carries 100 * 2^-24 against a spread of 1
    op.cases.back().gradient_tolerance = 1e-4;
    op.add({.name = "constant rows",
            .inputs = {Tensor::full({2, 40}, 3.0), random({40}), random({40})},
            .params = {{"eps", 1e-5}}});
    op.cases.back().gradient_tolerance = 1e-3;  // 1/sqrt(eps) = 316 magnifies the step of the central difference
    op.add({.name = "no rows", .inputs = {random({0, 8}), random({8}), random({8})}, .params = {{"eps", 1e-5}}});
    one("640x576", {640, 576}, 1, 0, true);
    one("1500x512", {1500, 512}, 1, 0, true);
}

}  // namespace wavllm
