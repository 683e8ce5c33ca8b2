#pragma once
// The training loop. A step is a function of (configuration, step number, parameters): run it on any number of threads,
// stop it anywhere and resume, and the bytes are the same.

#include <functional>
#include <optional>

#include "data/tokenizer/tokenizer.h"
#include "infer/evaluate.h"
#include "train/ctc_classes.h"
#include "train/optimizer.h"
#include "train/record.h"
#include "train/run_folder.h"
#include "train/sampler.h"
#include "train/schedule.h"

namespace wavllm {

struct StepResult {
    double loss = 0;  ///< what was minimised
    double ce = 0;    ///< mean over the step's target tokens; 0 where the stage has none
    double ctc = 0;   ///< mean over its transcript tokens; likewise
    double rate = 0;  ///< factor of the peak learning rates
    GradientNorms norms;
    int64_t tokens = 0;  ///< target tokens
    double audio_seconds = 0;
    std::string set;  ///< whose clips these were; "a+b" if micro-batches came from several
};

/// One optimiser step on micro-batches that are ready, as `stage` says; step counts over the whole run, `in_stage`
/// within the stage. Nothing in it asks the heap for memory once a step of these sizes ran. Throws TrainingError for
/// missing or zero gradients, and, if a value was not finite, after a replay that names its op.
StepResult training_step(const Wavllm& model, Optimizer& optimizer, std::span<const SpeechBatch> micro_batches,
                         int64_t step, int64_t in_stage, const Stage& stage, const Preset& preset);

/// What the optimiser needs to know before step `step` of the run: which groups its stage trains, at which rates, and
/// how many updates each had.
GroupSettings group_settings(const Preset& preset, int64_t step);

/// Clips of one manifest.
struct ExampleSet {
    std::string name;
    std::vector<SpeechExample> examples;
};

/// What a validation found on one set.
struct Validation {
    std::string set;
    std::optional<double> loss;     ///< cross-entropy per target token
    std::optional<Evaluation> llm;  ///< the LLM's answers
    std::optional<Evaluation> ctc;  ///< the CTC head's
    const Evaluation& best_known() const {
        return llm ? *llm : *ctc;
    }
};

struct TrainReport {
    int64_t steps_done = 0;
    bool stopped = false;                 ///< by a signal; continue with --resume
    std::vector<Validation> validations;  ///< of the end, one a set
};

class Trainer {
public:
    struct Callbacks {
        /// After every step.
        std::function<void(int64_t step, const Stage&, const StepResult&, double seconds)> step{};
        /// After every validation.
        std::function<void(int64_t steps_done, const std::vector<Validation>&)> validation{};
    };

    /// train and valid live as long as the trainer. model's parameters are trained in place. Throws UsageError where a
    /// stage cannot work with these sets (no clip of its lengths, CTC on answers that are no transcripts).
    Trainer(Wavllm& model, const Tokenizer& tokenizer, std::span<const ExampleSet> train,
            std::span<const ExampleSet> valid, RunFolder& run, Callbacks callbacks);

    /// From where the run folder's newest checkpoint stands to the last step; leaves adapter.safetensors.
    TrainReport run();

private:
    void enter_stage(size_t index);
    void enter_stage_of(int64_t step);
    std::vector<SpeechBatch> batches(int64_t step, StepResult& totals);
    void log_step(int64_t step, const Stage& stage, const StepResult& r, double seconds);
    std::vector<Validation> validate(int64_t steps_done, bool log);
    std::vector<const SpeechExample*> validated(const ExampleSet& set) const;
    std::vector<AnsweredSet> answered(const std::vector<Validation>& validations) const;
    void record(int64_t steps_done, const std::vector<Validation>& validations, double seconds);

    Wavllm& model_;
    const Tokenizer& tokenizer_;
    std::span<const ExampleSet> train_, valid_;
    RunFolder& run_;
    Callbacks callbacks_;
    Preset preset_;
    std::vector<Stage> stages_;
    Optimizer optimizer_;
    std::optional<CtcClasses> ctc_classes_;
    size_t stage_ = 0;
    int64_t stage_begin_ = 0, stage_end_ = 0;  // steps of stage_
    std::optional<MixedSampler> sampler_;      // of stage_
    OpClock clock_;                            // of the steps since the last validation
    int64_t clocked_steps_ = 0;
};

}  // namespace wavllm
