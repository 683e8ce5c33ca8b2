#include "kernels/columns/columns.h"
#include "kernels/common/op_case.h"

namespace wavllm {

OP_CASES(slice_columns) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params& p) { return kernels::slice_columns(in[0], p.i("begin"), p.i("end")); };
    op.add({.name = "inner", .inputs = {random({3, 7})}, .params = {{"begin", 2}, {"end", 5}}});
    op.add({.name = "all", .inputs = {random({3, 7})}, .params = {{"begin", 0}, {"end", 7}}});
    op.add({.name = "last", .inputs = {random({2, 3, 33})}, .params = {{"begin", 32}, {"end", 33}}});
    op.add({.name = "second half of 640x1152",
            .inputs = {random({640, 1152})},
            .params = {{"begin", 576}, {"end", 1152}},
            .bytes = 2.0 * 4 * 640 * 576,
            .bench = true});
}

OP_CASES(concat_columns) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params&) { return kernels::concat_columns(in[0], in[1]); };
    op.add({.name = "3 + 7", .inputs = {random({4, 3}), random({4, 7})}});
    op.add({.name = "one row", .inputs = {random({1, 40}), random({1, 1})}});
    op.add({.name = "640x(576 + 576)",
            .inputs = {random({640, 576}), random({640, 576})},
            .bytes = 4.0 * 4 * 640 * 576,
            .bench = true});
}

}  // namespace wavllm
