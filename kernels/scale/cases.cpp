#include "kernels/common/op_case.h"
#include "kernels/scale/scale.h"

namespace wavllm {

OP_CASES(scale) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params& p) { return kernels::scale(in[0], p.number("s")); };
    op.add({.name = "3x7", .inputs = {random({3, 7})}, .params = {{"s", 0.125}}});
    op.add({.name = "by zero", .inputs = {random({20})}, .params = {{"s", 0}}});
    op.add({.name = "more than one chunk", .inputs = {random({130, 129})}, .params = {{"s", -1.7}}});
    op.add({.name = "640x576",
            .inputs = {random({640, 576})},
            .params = {{"s", 0.5}},
            .bytes = 2.0 * 4 * 640 * 576,
            .flops = 640.0 * 576,
            .bench = true});
}

}  // namespace wavllm
