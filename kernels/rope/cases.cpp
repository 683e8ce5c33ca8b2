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
    // as complex numbers: pair * e^(i angle), the angle from the table
    op.reference = [](Inputs64 in, const Params& p) {
        const Array64& x = in[0];
        Array64 y(x.shape);
        const int64_t heads = x.shape[1], dh = x.shape[2], half = dh / 2;
        for (int64_t row = 0; row < x.shape[0] * heads; ++row)
            for (int64_t i = 0; i < half; ++i) {
                const int64_t at = static_cast<int64_t>(in[1][row / heads]) * half + i;
                const double c = in[2][at], s = p.flag("inverse") ? -in[3][at] : in[3][at];
                const int64_t a = row * dh + (p.flag("interleaved") ? 2 * i : i),
                              b = p.flag("interleaved") ? a + 1 : a + half;
                y[a] = x[a] * c - x[b] * s;
                y[b] = x[b] * c + x[a] * s;
            }
        return y;
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
