#include "kernels/attention_pool/attention_pool.h"
#include "kernels/common/check.h"
#include "kernels/common/op_case.h"

namespace wavllm {

OP_CASES(attention_pool) {
    op.forward = [](Inputs in, const Params& p) {
        return kernels::attention_pool(in[0], in[1], kernels::make_borders(p.list("lengths"))).y;
    };
    const auto one = [&](const char* name, std::vector<int64_t> lengths, int64_t channels, double size = 1,
                         bool column = true, bool bench = false) {
        int64_t rows = 0;
        for (const int64_t l : lengths) rows += l;
        const double n = static_cast<double>(rows * channels);
        op.add({.name = name,
                .inputs = {random({rows, channels}), random(column ? Shape{rows, 1} : Shape{rows}, size)},
                .params = Params().list("lengths", lengths),
                .bytes = 4 * (n + static_cast<double>(rows + static_cast<int64_t>(lengths.size()) * channels)),
                .flops = 2 * n,
                .bench = bench});
    };
    one("one row", {1}, 7);
    op.cases.back().differentiable = {true, false};  // softmax of one score is constant
    one("several sequences, one empty", {5, 0, 1, 40, 17}, 70);
    one("rows in fours", {300, 30}, 64, 1, false);
    one("one row decides", {20, 9}, 12, 60);
    one("no rows", {0}, 8);
    one("long rows", {6, 3}, 1100);
    one("16 x 30 x 4096", std::vector<int64_t>(16, 30), 4096, 1, true, true);
}

}  // namespace wavllm
