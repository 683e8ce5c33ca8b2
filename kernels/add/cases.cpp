#include "kernels/add/add.h"
#include "kernels/common/op_case.h"

namespace wavllm {

OP_CASES(add) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params&) { return kernels::add(in[0], in[1]); };
    op.add({.name = "3x7", .inputs = {random({3, 7}), random({3, 7})}});
    op.add({.name = "scalar", .inputs = {random({1}), random({1})}});
    op.add({.name = "640x576",
            .inputs = {random({640, 576}), random({640, 576})},
            .bytes = 3.0 * 4 * 640 * 576,
            .flops = 640.0 * 576,
            .bench = true});
}

}  // namespace wavllm
