#include "kernels/common/check.h"
#include "kernels/common/op_case.h"
#include "kernels/segment_scale/segment_scale.h"

namespace wavllm {

OP_CASES(segment_scale) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params& p) {
        return kernels::segment_scale(in[0], in[1], kernels::make_borders(p.list("lengths")));
    };
    op.add(
        {.name = "one request", .inputs = {random({5, 7}), random({1, 7})}, .params = Params().list("lengths", {5})});
    op.add({.name = "three, one empty",
            .inputs = {random({9, 70}), random({3, 70})},
            .params = Params().list("lengths", {4, 0, 5})});
    op.add({.name = "640x576",
            .inputs = {random({640, 576}), random({4, 576})},
            .params = Params().list("lengths", {160, 160, 160, 160}),
            .bytes = 4.0 * 2 * 640 * 576,
            .flops = 640.0 * 576,
            .bench = true});
}

}  // namespace wavllm
