#include "kernels/common/op_case.h"
#include "kernels/rope/rope.h"

namespace wavllm {

OP_CASES(rope) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params& p) {
        return kernels::rope(in[0], in[1], {in[2], in[3]},
                             p.flag("interleaved") ? RopeLayout::interleaved : RopeLayout::half_split,
                             p.flag("inverse"));
    };

    const auto one = [&](const char* name, const Shape& shape, bool interleaved, bool inverse = false,
                         bool bench = false) {
        const RopeTable table = make_rope_table(50, shape[2], 10000);
        op.add({.name = name,
                .inputs = {random(shape), random_ids({shape[0]}, 50), table.cos, table.sin},
                .params = {{"interleaved", interleaved}, {"inverse", inverse}},
                .differentiable = {true, false, false, false},
                .bytes = 8.0 * static_cast<double>(shape.numel()),
                .flops = 3.0 * static_cast<double>(shape.numel()),
                .bench = bench});
    };
    one("half split, one pair", {1, 1, 2}, false);
    one("half split, head dimension 8", {5, 3, 8}, false);
    one("half split, head dimension 64", {3, 2, 64}, false);
    one("half split, no multiple of the vector width", {4, 2, 42}, false);
    one("half split, inverse", {3, 2, 20}, false, true);
    one("interleaved, one pair", {1, 1, 2}, true);
    one("interleaved, head dimension 8", {5, 3, 8}, true);
    one("interleaved, head dimension 64", {3, 2, 64}, true);
    one("interleaved, no multiple of the vector width", {4, 2, 42}, true);
    one("interleaved, inverse", {3, 2, 20}, true, true);
    one("no rows", {0, 2, 8}, true);
    one("smollm2 queries, half split", {640, 9, 64}, false, false, true);
    one("smollm2 queries, interleaved", {640, 9, 64}, true, false, true);
}

}  // namespace wavllm
