#include "wavllm/verify/beams.h"

#include "tensor/model_dtype.h"
#include "wavllm/verify/golden_folder.h"

namespace wavllm::verify {

decltype(BeamOptions::on_step) BeamTrace::watch() {
    return [this](size_t request, std::span<const int32_t> parents, std::span<const int32_t> tokens,
                  std::span<const double> log_probs) {
        for (size_t i = 0; i < parents.size(); ++i)
            ids_[request].insert(ids_[request].end(), {int64_t{parents[i]}, int64_t{tokens[i]}});
        log_probs_[request].insert(log_probs_[request].end(), log_probs.begin(), log_probs.end());
    };
}

Tensor BeamTrace::alive(size_t request) const {
    return ids_tensor(ids_[request]);
}

Tensor BeamTrace::log_probs(size_t request) const {
    return Tensor::from(log_probs_[request], {static_cast<int64_t>(log_probs_[request].size())}).to(model_dtype());
}

Tensor hypotheses_tensor(const std::vector<Hypothesis>& found) {
    std::vector<std::vector<int64_t>> texts;
    for (const Hypothesis& h : found) texts.emplace_back(h.tokens.begin(), h.tokens.end());
    return beams_tensor(texts);
}

Tensor scores_tensor(const std::vector<Hypothesis>& found) {
    std::vector<double> scores;
    for (const Hypothesis& h : found) scores.insert(scores.end(), {h.log_prob, h.score});
    return Tensor::from(scores, {static_cast<int64_t>(found.size()), 2}).to(model_dtype());
}

}  // namespace wavllm::verify
