#include "kernels/common/op_case.h"
#include "kernels/weighted_sum/weighted_sum.h"

namespace wavllm {

OP_CASES(weighted_sum) {
    op.forward = [](Inputs in, const Params&) { return kernels::weighted_sum(in[0], in[1]); };
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
