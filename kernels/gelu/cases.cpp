#include <numbers>

#include "kernels/common/op_case.h"
#include "kernels/gelu/gelu.h"

namespace wavllm {

OP_CASES(gelu) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params&) { return kernels::gelu(in[0]); };
    op.add({.name = "3x7", .inputs = {random({3, 7})}});
    op.add({.name = "far out", .inputs = {random({5, 40}, 10)}});
    op.add({.name = "lower tail only", .inputs = {random({5, 40}, 1, -6)}});
    op.add({.name = "near zero", .inputs = {random({2, 33}, 1e-3)}});
    op.add({.name = "zeros", .inputs = {Tensor::zeros({20})}});
    op.add({.name = "more than one chunk", .inputs = {random({130, 129}, 2)}});
    op.add({.name = "750x2048",
            .inputs = {random({750, 2048})},
            .bytes = 2.0 * 4 * 750 * 2048,
            .flops = 60.0 * 750 * 2048,
            .bench = true});
    op.add({.name = "640x576",
            .inputs = {random({640, 576})},
            .bytes = 2.0 * 4 * 640 * 576,
            .flops = 60.0 * 640 * 576,
            .bench = true});
}

}  // namespace wavllm
