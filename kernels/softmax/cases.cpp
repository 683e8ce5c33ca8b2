#include "kernels/common/op_case.h"
#include "kernels/softmax/softmax.h"

namespace wavllm {

OP_CASES(softmax) {
    op.forward = [](Inputs in, const Params&) { return kernels::softmax(in[0]); };
    op.add({.name = "one column", .inputs = {random({3, 1})}});
    op.add({.name = "no multiple of the vector width", .inputs = {random({3, 7})}});
    op.add({.name = "three dimensions", .inputs = {random({2, 3, 65})}});
    op.add({.name = "all below zero, not a whole vector", .inputs = {random({3, 21}, 1, -50)}});
    op.add({.name = "one peak", .inputs = {random({2, 40}, 60)}});
    op.add({.name = "large values", .inputs = {random({2, 40}, 1, 1000)}});
    op.cases.back().tolerance = 3e-6;
    Tensor masked = random({2, 20});
    masked.mutable_data<float>()[3] = masked.mutable_data<float>()[20] = -1e4f;
    op.add({.name = "masked entries", .inputs = {masked}});
    op.add({.name = "640x576",
            .inputs = {random({640, 576})},
            .bytes = 2.0 * 4 * 640 * 576,
            .flops = 20.0 * 640 * 576,
            .bench = true});
}

}  // namespace wavllm
