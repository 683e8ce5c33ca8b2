#include "kernels/common/op_case.h"
#include "kernels/scalar_mul/scalar_mul.h"

namespace wavllm {

OP_CASES(scalar_mul) {
    op.forward = [](Inputs in, const Params&) { return kernels::scalar_mul(in[0], in[1]); };
    const auto one = [&](const char* name, const Shape& shape, double s, bool bench = false) {
        const auto n = static_cast<double>(shape.numel());
        op.add({.name = name,
                .inputs = {random(shape), Tensor::full({1}, s)},
                .bytes = 8 * n,
                .flops = n,
                .bench = bench});
    };
    one("one element", {1, 1}, -2);
    one("3x7", {3, 7}, 0.125);
    one("by zero", {20}, 0);
    one("three dimensions", {2, 5, 33}, 14.3);
    one("more than one chunk", {130, 129}, -1.7);
    one("no rows", {0, 5}, 3);
    one("1200x576", {1200, 576}, 10, true);
}

}  // namespace wavllm
