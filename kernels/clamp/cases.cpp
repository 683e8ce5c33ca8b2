#include "kernels/clamp/clamp.h"
#include "kernels/common/op_case.h"

namespace wavllm {

OP_CASES(clamp) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params& p) { return kernels::clamp(in[0], p.number("low"), p.number("high")); };
    const auto one = [&](const char* name, Shape shape, double size, double low, double high, bool bench = false) {
        const auto n = static_cast<double>(shape.numel());
        op.add({.name = name,
                .inputs = {random(shape, size)},
                .params = {{"low", low}, {"high", high}},
                .bytes = 2 * 4 * n,
                .flops = 2 * n,
                .bench = bench});
    };
    one("r of the released WavLLM", {3, 24}, 4, 0, 3);
    one("between negative limits", {5, 7}, 2, -1.5, -0.25);
    one("more than one chunk", {130, 129}, 3, -2, 2);
    one("nothing is cut off", {2, 33}, 1, -100, 100);
    one("no rows", {0, 5}, 1, 0, 1);
    one("16x4096", {16, 4096}, 2, 0, 3, true);
}

}  // namespace wavllm
