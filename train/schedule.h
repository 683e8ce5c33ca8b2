#pragma once
#include <string>

namespace wavllm {

/// Learning-rate factor: linear warm-up from 1/warmup to 1, then a decay to `final_rate` at the last step. The paper
/// (section 4.1) gives the warm-up; the decay is not stated, so it is a value of the preset.
struct Schedule {
    int64_t steps = 1, warmup_steps = 0;
    std::string decay = "cosine";  ///< cosine, linear or constant
    double final_rate = 0;

    /// For step 0 .. steps-1.
    double factor(int64_t step) const;
};

}  // namespace wavllm
