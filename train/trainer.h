#pragma once
// The training loop. A step is a function of (configuration, step number, parameters): run it on any number of threads,
// stop it anywhere and resume, and the bytes are the same.

#include <functional>

#include "data/tokenizer/tokenizer.h"
#include "infer/evaluate.h"
#include "train/optimizer.h"
#include "train/run_folder.h"
#include "train/sampler.h"
#include "train/schedule.h"

namespace wavllm {

struct StepResult {
    double loss = 0;  ///< mean over the step's target tokens
    double rate = 0;  ///< factor of the peak learning rates
    GradientNorms norms;
    int64_t tokens = 0;  ///< target tokens
    double audio_seconds = 0;
};

/// One optimiser step on micro-batches that are ready. Nothing in it asks the heap for memory once a step of these
/// sizes ran. Throws TrainingError for missing or zero gradients, and, if a value was not finite, after a replay that
/// names its op.
StepResult training_step(const Wavllm& model, Optimizer& optimizer, std::span<const SpeechBatch> micro_batches,
                         int64_t step, const Preset& preset);

/// Set by SIGINT and SIGTERM while a Trainer runs: it finishes its step, saves, and returns.
bool stop_requested();

struct TrainReport {
    int64_t steps_done = 0;
    bool stopped = false;   ///< by a signal; continue with --resume
    Evaluation validation;  ///< of the end
    double validation_loss = 0;
};

class Trainer {
public:
    /// Called after every step, and (with the result) after every validation.
    struct Callbacks {
        std::function<void(int64_t step, const StepResult&, double seconds)> step{};
        std::function<void(int64_t steps_done, double loss, const Evaluation&)> validation{};
    };

    /// train and valid live as long as the trainer. model's parameters are trained in place.
    Trainer(Wavllm& model, const Tokenizer& tokenizer, std::span<const SpeechExample> train,
            std::span<const SpeechExample> valid, RunFolder& run, Callbacks callbacks);

    /// From where the run folder's newest checkpoint stands to the last step; leaves adapter.safetensors.
    TrainReport run();

private:
    std::vector<SpeechBatch> batches(int64_t step, double& audio_seconds);
    void validate(int64_t steps_done, TrainReport& report, bool log);

    Wavllm& model_;
    const Tokenizer& tokenizer_;
    std::span<const SpeechExample> train_, valid_;
    RunFolder& run_;
    Callbacks callbacks_;
    Preset preset_;
    Optimizer optimizer_;
    Sampler sampler_;
};

}  // namespace wavllm
