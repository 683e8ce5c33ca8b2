#include "kernels/add_bias/add_bias.h"
#include "kernels/common/op_case.h"

namespace wavllm {

OP_CASES(add_bias) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params&) { return kernels::add_bias(in[0], in[1]); };
    const auto one = [&](const char* name, int64_t rows, int64_t n, bool bench = false) {
        const auto elements = static_cast<double>(rows * n);
        op.add({.name = name,
                .inputs = {random({rows, n}), random({n})},
                .bytes = 4 * (2 * elements + static_cast<double>(n)),
                .flops = elements,
                .bench = bench});
    };
    one("3x7", 3, 7);
    one("one row", 1, 24);
    one("columns in fours", 5, 64);
    one("more than one chunk", 130, 129);
    one("no rows", 0, 5);
    one("16x4096", 16, 4096, true);
}

}  // namespace wavllm
