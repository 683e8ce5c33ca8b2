#include "kernels/common/op_case.h"
#include "kernels/mul/mul.h"

namespace wavllm {

OP_CASES(mul) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params&) { return kernels::mul(in[0], in[1]); };
    op.add({.name = "one element", .inputs = {random({1}), random({1})}});
    op.add({.name = "3x7", .inputs = {random({3, 7}), random({3, 7})}});
    op.add({.name = "more than one chunk", .inputs = {random({130, 129}), random({130, 129})}});
    op.add({.name = "no rows", .inputs = {random({0, 5}), random({0, 5})}});
    op.add({.name = "640x576",
            .inputs = {random({640, 576}), random({640, 576})},
            .bytes = 3.0 * 4 * 640 * 576,
            .flops = 640.0 * 576,
            .bench = true});
}

}  // namespace wavllm
