#include "kernels/common/op_case.h"
#include "kernels/weighted_sum/weighted_sum.h"

namespace wavllm {

OP_CASES(weighted_sum) {
    op.forward = [](Inputs in, const Params&) { return kernels::weighted_sum(in[0], in[1]); };
    op.reference = [](Inputs64 in, const Params&) {
        const int64_t layers = in[0].shape[0], rows = in[0].shape[1], d = in[0].shape[2];
        double total = 0;
        for (double w : in[1].v) total += std::exp(w);
        Array64 y({rows, d});
        for (int64_t l = 0; l < layers; ++l)
            for (int64_t i = 0; i < rows * d; ++i) y[i] += std::exp(in[1][l]) / total * in[0][l * rows * d + i];
        return y;
    };
    op.add({.name = "one layer", .inputs = {random({1, 3, 7}), random({1})}});
    op.add({.name = "13 layers", .inputs = {random({13, 5, 70}), random({13})}});
    op.add({.name = "one layer outweighs", .inputs = {random({4, 3, 33}), random({4}, 10)}});
    op.add({.name = "no rows", .inputs = {random({4, 0, 33}), random({4})}});
    op.add({.name = "13 x 500x768",
            .inputs = {random({13, 500, 768}), random({13})},
            .bytes = 14.0 * 4 * 500 * 768,
            .flops = 26.0 * 500 * 768,
            .bench = true});
}

}  // namespace wavllm
