#pragma once
#include "models/wavllm/example.h"

namespace wavllm {

/// Which tokens a step's CTC softmax ranges over: those of its own transcripts, the most frequent of the training
/// texts, and some of all tokens drawn anew each step. All 49,152 of SmolLM2 would make the head cost more than
/// everything else in the step.
class CtcClasses {
public:
    struct Config {
        int64_t frequent = 2000, random = 2000;
        int64_t vocab = 0;
        uint64_t seed = 1;
        std::vector<int32_t> always{};  ///< in every step
    };
    /// texts: the training set, from which frequencies are counted.
    CtcClasses(std::span<const SpeechExample* const> texts, Config config);

    /// Targets of a batch in the classes of this step: a function of the batch and the step alone.
    CtcTargets targets(std::span<const SpeechExample* const> batch, uint32_t step) const;

private:
    Config config_;
    std::vector<int32_t> frequent_;
};

}  // namespace wavllm
