#include "infer/ctc_greedy.h"

#include <algorithm>

#include "kernels/common/loops.h"

namespace wavllm {

namespace {

constexpr int32_t kBlank = -1, kNan = -2;

/// The class with the largest of n logits, kBlank if none is above the blank's, kNan if one is NaN.
int32_t best_class(const float* z, int64_t n, float blank) {
    using namespace kernels;
    vf top = broadcast(blank), nan{};
    for_lanes(n, [&](int64_t i, auto lanes) {
        vf v = load(z + i, lanes);
        if constexpr (std::is_same_v<decltype(lanes), int64_t>)
            for (int64_t j = lanes; j < kLanes; ++j) v[j] = blank;
        top = vmax(v, top);
        nan = v == v ? nan : v;  // the maximum loses it
    });
    if (std::isnan(sum(nan)) || std::isnan(blank)) return kNan;
    const float best = max(top);
    return best > blank ? static_cast<int32_t>(std::find(z, z + n, best) - z) : kBlank;
}

}  // namespace

std::vector<CtcPath> ctc_greedy(const Tensor& token_logits, const Tensor& blank_logits, const Tensor& borders,
                                std::span<const int32_t> class_tokens) {
    kernels::expect("ctc_greedy", "token_logits", token_logits);
    if (token_logits.rank() != 2)
        throw ShapeError("ctc_greedy: token_logits must be [rows, tokens], but is {}", token_logits.describe());
    const int64_t rows = token_logits.dim(0), classes = token_logits.dim(1);
    kernels::expect("ctc_greedy", "blank_logits", blank_logits, {rows, 1});
    const auto b = kernels::borders_of("ctc_greedy", borders, rows);
    if (!class_tokens.empty() && static_cast<int64_t>(class_tokens.size()) != classes)
        throw ShapeError("ctc_greedy: {} tokens are named for the {} classes of {}", class_tokens.size(), classes,
                         token_logits.describe());

    std::vector<int32_t> best(static_cast<size_t>(rows));
    const float *z = token_logits.data<float>(), *blank = blank_logits.data<float>();
    kernels::for_rows(rows, classes, [&](int64_t row) {
        best[static_cast<size_t>(row)] = best_class(z + row * classes, classes, blank[row]);
    });

    std::vector<CtcPath> paths;
    for (size_t clip = 0; clip + 1 < b.size(); ++clip) {
        const auto path =
            std::span(best).subspan(static_cast<size_t>(b[clip]), static_cast<size_t>(b[clip + 1] - b[clip]));
        if (const auto nan = std::find(path.begin(), path.end(), kNan); nan != path.end())
            throw Error("ctc_greedy: the logits of row {} of clip {} hold a NaN", nan - path.begin(), clip);
        paths.push_back(ctc_collapse(path, kBlank));
        if (class_tokens.empty()) continue;
        for (int32_t& token : paths.back().tokens) token = class_tokens[static_cast<size_t>(token)];
    }
    return paths;
}

CtcPath ctc_collapse(std::span<const int32_t> path, int32_t blank) {
    CtcPath result;
    for (size_t t = 0; t < path.size();) {
        size_t end = t + 1;
        while (end < path.size() && path[end] == path[t]) ++end;
        if (path[t] != blank) {
            result.tokens.push_back(path[t]);
            result.rows.push_back(static_cast<int64_t>(t));
            result.ends.push_back(static_cast<int64_t>(end));
        }
        t = end;
    }
    return result;
}

}  // namespace wavllm
