#pragma once
// What beam search found, as tensors that are compared.

#include "infer/beam_search.h"

namespace wavllm::verify {

/// Every step's beams of each request.
class BeamTrace {
public:
    explicit BeamTrace(size_t requests) : ids_(requests), log_probs_(requests) {}

    /// For BeamOptions::on_step, as long as this lives.
    decltype(BeamOptions::on_step) watch();
    int64_t steps(size_t request, int64_t beams) const {
        return std::ssize(log_probs_[request]) / beams;
    }
    /// i64 [steps * beams * 2]: parent and token of each beam.
    Tensor alive(size_t request) const;
    /// In the model's dtype, [steps * beams]
    Tensor log_probs(size_t request) const;

private:
    std::vector<std::vector<int64_t>> ids_;
    std::vector<std::vector<double>> log_probs_;
};

/// Their tokens, as beams_tensor (golden_folder.h) lays them out.
Tensor hypotheses_tensor(const std::vector<Hypothesis>& found);
/// In the model's dtype, [n, 2]: log-probability and score.
Tensor scores_tensor(const std::vector<Hypothesis>& found);

}  // namespace wavllm::verify
