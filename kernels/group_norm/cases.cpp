#include "kernels/common/check.h"
#include "kernels/common/op_case.h"
#include "kernels/group_norm/group_norm.h"

namespace wavllm {

OP_CASES(group_norm) {
    op.forward = [](Inputs in, const Params& p) {
        return kernels::group_norm(in[0], kernels::make_borders(p.list("lengths")), in[1], in[2], p.i("groups"),
                                   p.number("eps"))
            .y;
    };

    const auto one = [&](const char* name, std::vector<int64_t> lengths, int64_t channels, int64_t groups,
                         double scale = 1, double offset = 0, bool bench = false) {
        int64_t rows = 0;
        for (const int64_t l : lengths) rows += l;
        Params params{{"groups", static_cast<double>(groups)}, {"eps", 1e-5}};
        const double n = static_cast<double>(rows * channels), c = static_cast<double>(channels);
        op.add(
            {.name = name,
             .inputs = {random({rows, channels}, scale, offset), random({channels}, 0.2, 1.0), random({channels}, 0.1)},
             .params = params.list("lengths", std::move(lengths)),
             .bytes = 4 * (3 * n + 2 * c),  // x twice: it is larger than a cache
             .flops = 8 * n,
             .bench = bench});
    };
    one("one group", {6}, 5, 1);
    one("a group each, WavLM's first convolution", {37}, 20, 20);
    one("groups of 3, several sequences", {7, 1, 0, 30}, 12, 4);
    one("groups of 40", {5, 9}, 80, 2);
    one("more than one chunk", {300, 513, 256}, 35, 7);
    one("more than one chunk, a group each", {700}, 64, 64);
    one("far from zero", {40, 300}, 16, 8, 1.0, 100.0);
    op.cases.back().tolerance = 3e-5;  // x itself carries 100 * 2^-24 against a spread of 1
    op.cases.back().gradient_tolerance = 1e-4;
    one("tiny values, eps decides", {30}, 8, 2, 1e-4);
    one("huge values", {30}, 8, 2, 1e6);
    one("no rows", {0, 0}, 8, 2);
    one("96000x512, a group each", {96000}, 512, 512, 1, 0, true);
    one("4 x 1500x768, 16 groups", {1500, 1500, 1500, 1500}, 768, 16, 1, 0, true);
}

}  // namespace wavllm
