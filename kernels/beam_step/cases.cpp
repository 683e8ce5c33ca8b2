#include <cmath>

#include "kernels/beam_step/beam_step.h"
#include "kernels/common/check.h"
#include "kernels/common/op_case.h"

namespace wavllm {

OP_CASES(beam_step) {
    op.has_gradient = false;
    // [R, k] of what the case asks for: parents, tokens or scores
    op.forward = [](Inputs in, const Params& p) {
        const kernels::BeamStep r = kernels::beam_step(in[0], in[1], kernels::make_borders(p.list("beams")), p.i("k"));
        if (p.i("part") == 2) return r.scores;
        const std::vector<double> values = (p.i("part") == 0 ? r.parents : r.tokens).values();
        return Tensor::from(values, r.scores.shape()).to(r.scores.dtype()).to(in[0].device());
    };
    const auto one = [&](const std::string& name, const std::vector<int64_t>& beams, int64_t k, const Tensor& logits,
                         const Tensor& scores, bool bench = false) {
        for (int part = 0; part < (bench ? 1 : 3); ++part) {
            Params params{{"k", static_cast<double>(k)}, {"part", static_cast<double>(part)}};
            const char* parts[] = {"parents", "tokens", "scores"};
            op.add({.name = bench ? name : name + ", " + parts[part],
                    .inputs = {logits, scores},
                    .params = params.list("beams", beams),
                    .tolerance = part == 2 ? 2e-6 : 0,
                    .bytes = 4.0 * static_cast<double>(logits.numel()),
                    .flops = 20.0 * static_cast<double>(logits.numel()),
                    .bench = bench});
        }
    };
    one("one beam", {1}, 4, random({1, 33}, 2), random({1}));
    one("first step, the other beams are not there yet", {3}, 3, random({3, 50}),
        Tensor::from(std::vector<float>{0, -INFINITY, -INFINITY}, {3}));
    one("several requests", {4, 1, 2}, 4, random({7, 300}, 2), random({7}, 0.5));
    one("as many as there are", {2, 3}, 6, random({5, 3}), random({5}));
    one("rows in fours, many beams", {20, 5}, 20, random({25, 1204}, 2), random({25}, 0.3));
    // Equal beams: every score of one row is in the other too.
    const Tensor twice = Tensor::full({2, 9}, 1), zeros = Tensor::zeros({2});
    one("all equal: lower row, then lower token", {2}, 12, twice, zeros);
    one("no requests", {}, 3, random({0, 9}), random({0}));
    std::vector<int64_t> eight(8, 4);
    one("8 x 4 x 32000", eight, 4, random({32, 32000}, 3), random({32}), true);
}

}  // namespace wavllm
