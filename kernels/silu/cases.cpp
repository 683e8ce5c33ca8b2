#include "kernels/common/op_case.h"
#include "kernels/silu/silu.h"

namespace wavllm {

OP_CASES(silu) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params&) { return kernels::silu(in[0]); };
    op.add({.name = "3x7", .inputs = {random({3, 7})}});
    op.add({.name = "far out", .inputs = {random({5, 40}, 40)}});
    op.add({.name = "near zero", .inputs = {random({2, 33}, 1e-3)}});
    op.add({.name = "more than one chunk", .inputs = {random({130, 129})}});
    op.add({.name = "no rows", .inputs = {random({0, 5})}});
    op.add({.name = "640x576",
            .inputs = {random({640, 576})},
            .bytes = 2.0 * 4 * 640 * 576,
            .flops = 20.0 * 640 * 576,
            .bench = true});
}

}  // namespace wavllm
