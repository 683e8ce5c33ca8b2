#pragma once
// A step of beam search in double: all continuations of a request, sorted. Sizes have been checked.

#include <limits>
#include <tuple>
#include <vector>

#include "kernels/beam_step/beam_step.h"
#include "kernels/cross_entropy/cross_entropy_f64.h"

namespace wavllm::kernels::f64 {

inline BeamStep beam_step(const Tensor& logits, const Tensor& scores, std::span<const int64_t> borders, int64_t k) {
    const In z("beam_step", "logits", logits), before("beam_step", "scores", scores);
    const int64_t n = z.columns(), requests = static_cast<int64_t>(borders.size()) - 1;
    BeamStep result{Tensor::empty({requests, k}, DType::i32), Tensor::empty({requests, k}, DType::i32),
                    zeros({requests, k})};
    auto *parents = result.parents.mutable_data<int32_t>(), *tokens = result.tokens.mutable_data<int32_t>();
    double* best = result.scores.mutable_data<double>();
    for (size_t r = 0; r + 1 < borders.size(); ++r) {
        std::vector<std::tuple<double, int64_t, int64_t>> all;  // sorts by falling score, then row, then token
        for (int64_t row = borders[r]; row < borders[r + 1]; ++row) {
            const double log_sum = log_sum_exp(z.at(row * n), n);
            for (int64_t v = 0; v < n; ++v) {
                const double score = before[row] + z[row * n + v] - log_sum;
                all.emplace_back(std::isnan(score) ? -std::numeric_limits<double>::infinity() : -score, row, v);
            }
        }
        std::partial_sort(all.begin(), all.begin() + k, all.end());
        for (int64_t i = 0; i < k; ++i) {
            const auto [row, token] =
                std::pair(std::get<1>(all[static_cast<size_t>(i)]), std::get<2>(all[static_cast<size_t>(i)]));
            *parents++ = static_cast<int32_t>(row);
            *tokens++ = static_cast<int32_t>(token);
            *best++ = before[row] + z[row * n + token] - log_sum_exp(z.at(row * n), n);  // NaN where it is one
        }
    }
    return result;
}

}  // namespace wavllm::kernels::f64
