#include "kernels/common/op_case.h"
#include "kernels/sum_all/sum_all.h"

namespace wavllm {

OP_CASES(sum_all) {
    op.forward = [](Inputs in, const Params&) { return kernels::sum_all(in[0]); };
    op.add({.name = "one", .inputs = {random({1})}});
    op.add({.name = "3x7", .inputs = {random({3, 7})}});
    op.add({.name = "none", .inputs = {random({0, 4})}});
    op.add({.name = "several chunks", .inputs = {random({7, 100, 101}, 1, 0.5)}});
    op.add({.name = "640x576",
            .inputs = {random({640, 576}, 1, 0.5)},
            .bytes = 4.0 * 640 * 576,
            .flops = 640.0 * 576,
            .bench = true});
}

OP_CASES(sum_of_squares) {
    op.has_gradient = false;
    op.forward = [](Inputs in, const Params&) { return Tensor::full({1}, kernels::sum_of_squares(in[0]), DType::f64); };
    op.add({.name = "one", .inputs = {random({1})}, .tolerance = 1e-14});
    op.add({.name = "none", .inputs = {random({0})}, .tolerance = 1e-14});
    op.add({.name = "several chunks", .inputs = {random({7, 100, 101})}, .tolerance = 1e-13});
    op.add({.name = "squares beyond f32", .inputs = {random({50}, 1e30)}, .tolerance = 1e-14});
    op.add({.name = "640x576",
            .inputs = {random({640, 576})},
            .bytes = 4.0 * 640 * 576,
            .flops = 2.0 * 640 * 576,
            .bench = true});
}

}  // namespace wavllm
