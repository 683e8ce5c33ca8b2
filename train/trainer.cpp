#include "train/trainer.h"

#include <chrono>
#include <cmath>
#include <csignal>

#include "autograd/tape.h"

namespace wavllm {

namespace {

volatile std::sig_atomic_t g_stop = 0;

void on_signal(int) {
    g_stop = 1;
}

/// Ctrl-C asks for a stop while this lives; a second one kills as usual.
class SignalScope {
public:
    SignalScope() {
        g_stop = 0;
        struct sigaction action = {};
        action.sa_handler = on_signal;
        action.sa_flags = static_cast<int>(SA_RESETHAND);
        sigaction(SIGINT, &action, &interrupt_);
        sigaction(SIGTERM, &action, &terminate_);
    }
    ~SignalScope() {
        sigaction(SIGINT, &interrupt_, nullptr);
        sigaction(SIGTERM, &terminate_, nullptr);
    }
    SignalScope(const SignalScope&) = delete;
    SignalScope& operator=(const SignalScope&) = delete;

private:
    struct sigaction interrupt_ = {}, terminate_ = {};
};

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

OptimizerConfig optimizer_config(const Preset& p) {
    return {{p.train.beta1, p.train.beta2, p.train.eps, p.train.weight_decay},
            p.train.adapter_rate,
            p.train.lora_rate,
            p.train.clip_norm};
}

SamplerConfig sampler_config(const Preset& p) {
    return {p.data.batch_seconds, p.data.batch_clips, p.data.bucket_batches, static_cast<uint64_t>(p.train.seed)};
}

std::vector<double> seconds_of(std::span<const SpeechExample> examples) {
    std::vector<double> seconds;
    for (const SpeechExample& e : examples) seconds.push_back(e.seconds);
    return seconds;
}

double forward_backward(const Wavllm& model, std::span<const SpeechBatch> micro_batches, const StepContext& context) {
    double loss = 0;
    for (const SpeechBatch& batch : micro_batches) {
        const CrossEntropy ce = model.loss(batch, context);
        backward(ce.loss);
        loss += ce.loss.item();
    }
    return loss;
}

}  // namespace

bool stop_requested() {
    return g_stop != 0;
}

StepResult training_step(const Wavllm& model, Optimizer& optimizer, std::span<const SpeechBatch> micro_batches,
                         int64_t step, const Preset& preset) {
    const StepArena arena(step);
    StepResult result;
    for (const SpeechBatch& batch : micro_batches) result.tokens += batch.plan.targets.numel();
    const StepContext context{.seed = static_cast<uint64_t>(preset.train.seed),
                              .step = static_cast<uint32_t>(step),
                              .training = true,
                              .normalizer = static_cast<double>(result.tokens),
                              .checkpoint_activations = preset.train.checkpoint_activations};
    result.loss = forward_backward(model, micro_batches, context);
    result.norms = optimizer.norms(step);
    if (!std::isfinite(result.loss) || !result.norms.finite) {
        optimizer.zero_gradients();
        FiniteCheck check;  // a step repeats to the bit, so the replay meets the same value
        forward_backward(model, micro_batches, context);
        throw TrainingError("train: step {}: loss {} or a gradient is not finite, though every op's result is", step,
                            result.loss);
    }
    result.rate =
        Schedule{preset.train.steps, preset.train.warmup_steps, preset.train.decay, preset.train.final_rate}.factor(
            step);
    optimizer.update(step, result.rate, result.norms);
    arena.check();
    return result;
}

Trainer::Trainer(Wavllm& model, const Tokenizer& tokenizer, std::span<const SpeechExample> train,
                 std::span<const SpeechExample> valid, RunFolder& run, Callbacks callbacks)
    : model_(model),
      tokenizer_(tokenizer),
      train_(train),
      valid_(valid),
      run_(run),
      callbacks_(std::move(callbacks)),
      preset_(run.preset()),
      optimizer_(model.parameters(), optimizer_config(preset_)),
      sampler_(seconds_of(train), sampler_config(preset_)) {}

std::vector<SpeechBatch> Trainer::batches(int64_t step, double& audio_seconds) {
    std::vector<SpeechBatch> result;
    for (int64_t i = 0; i < preset_.train.accumulate; ++i) {
        std::vector<const SpeechExample*> clips;
        for (size_t index : sampler_.batch(step * preset_.train.accumulate + i)) {
            clips.push_back(&train_[index]);
            audio_seconds += train_[index].seconds;
        }
        result.push_back(make_batch(clips, true));
    }
    return result;
}

TrainReport Trainer::run() {
    const SignalScope signals;
    TrainReport report;
    int64_t step = run_.restore(optimizer_);
    int64_t saved = step > 0 ? step : -1;
    for (; step < preset_.train.steps && !stop_requested(); ++step) {
        const double start = now();
        double audio_seconds = 0;
        const auto micro_batches = batches(step, audio_seconds);
        StepResult r = training_step(model_, optimizer_, micro_batches, step, preset_);
        r.audio_seconds = audio_seconds;
        const double seconds = now() - start;
        run_.log({{"step", step},
                  {"loss", r.loss},
                  {"rate", r.rate},
                  {"grad_norm", r.norms.total},
                  {"grad_norm_adapter", r.norms.adapter},
                  {"grad_norm_lora", r.norms.lora},
                  {"target_tokens", r.tokens},
                  {"audio_seconds", r.audio_seconds}});
        run_.log_timing({{"step", step}, {"seconds", seconds}, {"peak_bytes", memory::total().peak}});
        if (callbacks_.step) callbacks_.step(step, r, seconds);
        const int64_t done = step + 1;
        const bool last = done == preset_.train.steps;
        if (last || (preset_.train.validate_every > 0 && done % preset_.train.validate_every == 0))
            validate(done, report, true);
        if (last || done % preset_.train.save_every == 0) {
            run_.save(done, optimizer_, preset_.train.keep);
            saved = done;
        }
    }
    report.steps_done = step;
    report.stopped = step < preset_.train.steps;
    if (report.stopped) {
        if (saved != step) run_.save(step, optimizer_, preset_.train.keep);
        return report;
    }
    // resumed after the last step: the metrics have its validation already
    if (report.validation.answers.empty()) validate(step, report, false);
    run_.save_adapter(optimizer_.parameters());
    return report;
}

void Trainer::validate(int64_t steps_done, TrainReport& report, bool log) {
    if (valid_.empty()) return;
    const auto all = pointers_to(valid_, static_cast<size_t>(preset_.train.validate_clips));
    report.validation_loss = mean_loss(model_, all);
    report.validation = evaluate(model_, tokenizer_, all, {.max_new_tokens = preset_.data.max_new_tokens});
    const ErrorRates& r = report.validation.rates;
    if (log)
        run_.log({{"step", steps_done - 1},
                  {"validation_loss", report.validation_loss},
                  {"validation_wer", r.normal_words.rate()},
                  {"validation_cer", r.normal_characters.rate()},
                  {"validation_accuracy", report.validation.accuracy()}});
    if (callbacks_.validation) callbacks_.validation(steps_done, report.validation_loss, report.validation);
}

}  // namespace wavllm
