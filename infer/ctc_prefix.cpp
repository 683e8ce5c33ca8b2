#include "infer/ctc_prefix.h"

#include <cmath>
#include <limits>

#include "kernels/common/check.h"

namespace wavllm {

namespace {

constexpr double kImpossible = -std::numeric_limits<double>::infinity();
constexpr int32_t kBlank = -1;  // its column, as at() counts

/// log(exp(a) + exp(b))
double log_add(double a, double b) {
    if (a < b) std::swap(a, b);
    return b == kImpossible ? a : a + std::log1p(std::exp(b - a));
}

}  // namespace

CtcPrefix::CtcPrefix(Tensor log_probs) : log_probs_(std::move(log_probs)) {
    kernels::expect("ctc_prefix", "log_probs", log_probs_);
    if (log_probs_.rank() != 2 || log_probs_.dim(1) < 2)
        throw ShapeError("ctc_prefix: log_probs must be [rows, 1 + tokens], but is {}", log_probs_.describe());
}

CtcPrefix::Text CtcPrefix::empty() const {
    const auto rows = static_cast<size_t>(log_probs_.dim(0));
    Text text{std::vector(rows, kImpossible), std::vector(rows, kImpossible)};
    double sum = 0;
    for (size_t t = 0; t < rows; ++t) text.in_blank[t] = sum += at(static_cast<int64_t>(t), kBlank);
    return text;
}

CtcPrefix::Text CtcPrefix::extended(const Text& text, int32_t column) const {
    const auto rows = static_cast<size_t>(log_probs_.dim(0));
    Text next{std::vector(rows, kImpossible), std::vector(rows, kImpossible), column, kImpossible};
    for (size_t t = 0; t < rows; ++t) {
        const double here = at(static_cast<int64_t>(t), column);
        // all ways to be done with `text` before row t; a token that repeats the last one needs a blank between
        double before = text.last < 0 && t == 0 ? 0 : kImpossible;
        if (t > 0)
            before = text.last == column ? text.in_blank[t - 1] : log_add(text.in_blank[t - 1], text.in_token[t - 1]);
        next.begins = log_add(next.begins, before + here);
        next.in_token[t] = here + (t > 0 ? log_add(before, next.in_token[t - 1]) : before);
        if (t > 0)
            next.in_blank[t] =
                at(static_cast<int64_t>(t), kBlank) + log_add(next.in_blank[t - 1], next.in_token[t - 1]);
    }
    return next;
}

double CtcPrefix::ends(const Text& text) const {
    if (text.in_token.empty()) return text.last < 0 ? 0 : kImpossible;
    return log_add(text.in_token.back(), text.in_blank.back());
}

}  // namespace wavllm
