#include "kernels/common/check.h"
#include "kernels/common/op_case.h"
#include "kernels/ctc_loss/ctc_loss.h"

namespace wavllm {

namespace {

double log_add(double a, double b) {
    const double top = std::max(a, b);
    return std::isinf(top) ? top : top + std::log1p(std::exp(std::min(a, b) - top));
}

/// -log p by the forward variables in logarithms, over the target with its blanks spelt out: position 2j is the blank
/// before token j, position 2j+1 token j. Infinite if there is no alignment.
double sequence_loss(const Array64& z, const Array64& blank, int64_t row, int64_t rows,
                     std::span<const double> target) {
    const int64_t c = z.shape.last(), positions = 2 * static_cast<int64_t>(target.size()) + 1;
    const auto label = [&](int64_t s) { return static_cast<int64_t>(target[static_cast<size_t>(s / 2)]); };
    std::vector<double> alpha(static_cast<size_t>(positions), -INFINITY);
    for (int64_t t = row; t < row + rows; ++t) {
        double denominator = blank[t];
        for (int64_t k = 0; k < c; ++k) denominator = log_add(denominator, z[t * c + k]);
        std::vector<double> next(alpha.size(), -INFINITY);
        for (int64_t s = 0; s < positions; ++s) {
            const auto at = static_cast<size_t>(s);
            double sum = alpha[at];
            if (t == row) sum = s < 2 ? 0 : -INFINITY;
            if (t > row && s > 0) sum = log_add(sum, alpha[at - 1]);
            if (t > row && s > 1 && s % 2 && label(s) != label(s - 2)) sum = log_add(sum, alpha[at - 2]);
            next[at] = sum + (s % 2 ? z[t * c + label(s)] : blank[t]) - denominator;
        }
        alpha = next;
    }
    if (rows == 0) return target.empty() ? 0 : INFINITY;
    return -(positions > 1 ? log_add(alpha.back(), alpha[alpha.size() - 2]) : alpha.back());
}

Tensor ids(const std::vector<int32_t>& values) {
    const auto n = static_cast<int64_t>(values.size());
    return Tensor::from(values, {n});
}

int64_t total(const std::vector<int64_t>& lengths) {
    int64_t sum = 0;
    for (int64_t n : lengths) sum += n;
    return sum;
}

}  // namespace

// The loss as the autograd op gives it. Inputs: token logits, blank logits, targets; lists: rows and target lengths of
// the sequences.
OP_CASES(ctc_loss) {
    op.forward = [](Inputs in, const Params& p) {
        const Tensor losses = kernels::ctc_loss(in[0], in[1], kernels::make_borders(p.list("rows")), in[2],
                                                kernels::make_borders(p.list("lengths")), 1.0f, false)
                                  .losses;
        double sum = 0;
        for (double l : losses.values()) sum += l;
        return Tensor::full({1}, sum / p.number("normalizer"));
    };
    op.reference = [](Inputs64 in, const Params& p) {
        Array64 loss(Shape{1});
        int64_t row = 0, target = 0;
        for (size_t s = 0; s < p.list("rows").size(); ++s) {
            const int64_t rows = p.list("rows")[s], n = p.list("lengths")[s];
            const std::span<const double> of(in[2].v.data() + target, static_cast<size_t>(n));
            const double l = sequence_loss(in[0], in[1], row, rows, of);
            if (std::isfinite(l)) loss[0] += l / p.number("normalizer");
            row += rows;
            target += n;
        }
        return loss;
    };

    const auto one = [&](const char* name, const std::vector<int64_t>& rows, int64_t c, std::vector<int64_t> lengths,
                         Tensor targets, double scale = 2, bool bench = false) {
        const int64_t t = total(rows);
        const double cells = static_cast<double>(t) * static_cast<double>(c);
        Params params{{"normalizer", static_cast<double>(std::max<int64_t>(1, targets.numel()))}};
        params.list("rows", rows).list("lengths", std::move(lengths));
        op.add({.name = name,
                .inputs = {random({t, c}, scale), random({t, 1}, scale), std::move(targets)},
                .params = params,
                .differentiable = {true, true, false},
                .bytes = 8 * cells,
                .flops = 18 * cells,
                .bench = bench});
    };
    one("one row, one token", {1}, 1, {1}, ids({0}));
    one("one row of 20 tokens", {1}, 20, {1}, ids({7}));
    one("two sequences", {6, 4}, 5, {3, 2}, ids({1, 4, 0, 2, 3}));
    one("repeats", {9, 5}, 37, {4, 3}, ids({5, 5, 5, 2, 8, 8, 8}));
    one("rows just enough", {5, 3, 1}, 7, {3, 3, 1}, ids({4, 4, 4, 0, 1, 2, 6}));
    one("empty targets, empty sequences", {4, 0, 3, 0}, 6, {0, 0, 2, 0}, ids({1, 5}));
    one("one cannot be aligned", {4, 3, 0}, 6, {2, 3, 1}, ids({1, 2, 3, 3, 4, 5}));
    one("more than one vector of targets", {40, 23}, 33, {17, 8}, random_ids({25}, 33));
    one("more than one chunk of rows", {70, 5, 60}, 300, {20, 2, 15}, random_ids({37}, 300));
    one("logits of 80", {30, 12}, 16, {7, 3}, random_ids({10}, 16), 80);
    one("375 rows, 150 targets", {375}, 64, {150}, random_ids({150}, 64), 4);
    one("1200x4096, five sequences", {375, 320, 250, 180, 75}, 4096, {150, 110, 90, 60, 25}, random_ids({435}, 4096), 2,
        true);
}

}  // namespace wavllm
