#include "kernels/common/op_case.h"
#include "kernels/rows/rows.h"

namespace wavllm {

namespace {

Tensor plan_of(const std::vector<int32_t>& rows) {
    return Tensor::from(rows, {static_cast<int64_t>(rows.size())});
}

}  // namespace

OP_CASES(concat_rows) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params&) { return kernels::concat_rows(in); };
    op.add({.name = "one", .inputs = {random({3, 7})}});
    op.add({.name = "three, one without rows", .inputs = {random({3, 7}), random({0, 7}), random({1, 7})}});
    std::vector<Tensor> eight;
    for (int64_t i = 0; i < 8; ++i) eight.push_back(random({i + 1, 33}));
    op.add({.name = "eight", .inputs = eight});
    op.add({.name = "4 of 160x576",
            .inputs = {random({160, 576}), random({160, 576}), random({160, 576}), random({160, 576})},
            .bytes = 2.0 * 4 * 640 * 576,
            .bench = true});
}

OP_CASES(gather_rows) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params&) { return kernels::gather_rows(in[0], in[1]); };
    op.add({.name = "some twice, some never", .inputs = {random({5, 70}), plan_of({4, 0, 4, 4, 2})}});
    op.add({.name = "none", .inputs = {random({5, 7}), plan_of({})}});
    op.add({.name = "random", .inputs = {random({40, 33}), random_ids({60}, 40)}});
    op.add({.name = "640 rows of 576",
            .inputs = {random({640, 576}), random_ids({640}, 640)},
            .bytes = 2.0 * 4 * 640 * 576,
            .bench = true});
}

OP_CASES(splice_rows) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params&) { return kernels::splice_rows(in[0], in[1], in[2]); };
    op.add({.name = "prompt, speech, answer",
            .inputs = {random({4, 70}), random({3, 70}), plan_of({0, 1, -1, -2, -3, 2, 3})}});
    op.add(
        {.name = "rows used twice and never", .inputs = {random({4, 7}), random({3, 7}), plan_of({3, 3, -3, 0, -3})}});
    op.add({.name = "text only", .inputs = {random({4, 7}), random({0, 7}), plan_of({0, 1, 2})}});
    op.add({.name = "speech only", .inputs = {random({0, 7}), random({4, 7}), plan_of({-4, -1})}});
    std::vector<int32_t> plan;
    for (int32_t t = 0; t < 640; ++t) plan.push_back(t % 160 < 100 ? -1 - t : t);
    op.add({.name = "640 rows of 576",
            .inputs = {random({640, 576}), random({640, 576}), plan_of(plan)},
            .bytes = 2.0 * 4 * 640 * 576,
            .bench = true});
}

}  // namespace wavllm
