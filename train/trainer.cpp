#include "train/trainer.h"

#include <chrono>
#include <cmath>

#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "models/wavllm/masking.h"
#include "train/stop_signal.h"

namespace wavllm {

namespace {

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

SamplerConfig sampler_config(const Preset& p, const Stage& s, size_t index) {
    return {s.batch_seconds, s.batch_clips, p.data.bucket_batches,
            static_cast<uint64_t>(p.train.seed) + 104729 * index};
}

struct Losses {
    double total = 0, ce = 0, ctc = 0;
};

Losses forward_backward(const Wavllm& model, std::span<const SpeechBatch> micro_batches, const StepContext& context) {
    Losses sum;
    for (const SpeechBatch& batch : micro_batches) {
        const WavllmLoss loss = model.loss(batch, context);
        backward(loss.loss);
        sum.total += loss.loss.item();
        if (loss.ce.defined()) sum.ce += loss.ce.item();
        if (loss.ctc.defined()) sum.ctc += loss.ctc.item();
    }
    return sum;
}

MaskConfig mask_config(const Stage& s) {
    return {s.time_mask, s.time_mask_frames, s.channel_mask, s.channel_mask_width, s.feature_dropout};
}

/// Until a stage trains the prompt adapter its r is alpha / rank: the steps before need not compute it.
bool adapts(const Optimizer& optimizer, const Preset& preset) {
    static_assert(kParameterGroups[3] == "prompt");
    const GroupSetting& prompt = optimizer.settings()[3];
    return prompt.trained || prompt.updates > 0 || !preset.train.from.empty();
}

double share_of(const Stage& stage, const std::string& set) {
    if (stage.shares.empty()) return 1;
    for (const auto& [name, share] : stage.shares)
        if (name == set) return share;
    return 0;
}

}  // namespace

GroupSettings group_settings(const Preset& preset, int64_t step) {
    GroupSettings settings;
    for (const Stage& s : preset.all_stages()) {
        const std::array<bool, kParameterGroups.size()> trained{s.does_train("adapter"), s.does_train("lora"),
                                                                s.ctc_weight > 0, s.does_train("prompt")};
        const std::array<double, kParameterGroups.size()> rates{s.adapter_rate, s.lora_rate, s.adapter_rate,
                                                                s.prompt_rate};
        const bool current = step < s.steps;
        for (size_t g = 0; g < settings.size(); ++g) {
            if (trained[g]) settings[g].updates += current ? step : s.steps;
            settings[g].trained = trained[g];
            settings[g].rate = rates[g];
        }
        if (current) break;
        step -= s.steps;
    }
    return settings;
}

StepResult training_step(const Wavllm& model, Optimizer& optimizer, std::span<const SpeechBatch> micro_batches,
                         int64_t step, int64_t in_stage, const Stage& stage, const Preset& preset) {
    const StepArena arena(step);
    StepResult result;
    int64_t transcript_tokens = 0;
    for (const SpeechBatch& batch : micro_batches) {
        result.tokens += batch.plan.targets.numel();
        if (batch.ctc.defined()) transcript_tokens += batch.ctc.targets.numel();
    }
    const StepContext context{.seed = static_cast<uint64_t>(preset.train.seed),
                              .step = static_cast<uint32_t>(step),
                              .training = true,
                              .normalizer = static_cast<double>(result.tokens),
                              .ce_weight = stage.ce_weight,
                              .ctc_weight = stage.ctc_weight,
                              .ctc_normalizer = static_cast<double>(transcript_tokens),
                              .adaptive = adapts(optimizer, preset),
                              .checkpoint_activations = preset.train.checkpoint_activations};
    const Losses losses = forward_backward(model, micro_batches, context);
    result.loss = losses.total;
    result.ce = losses.ce;
    result.ctc = losses.ctc;
    result.norms = optimizer.norms(step);
    if (!std::isfinite(result.loss) || !result.norms.finite) {
        optimizer.zero_gradients();
        FiniteCheck check;  // a step repeats to the bit, so the replay meets the same value
        forward_backward(model, micro_batches, context);
        throw TrainingError("train: step {}: loss {} or a gradient is not finite, though every op's result is", step,
                            result.loss);
    }
    result.rate = Schedule{stage.steps, stage.warmup_steps, stage.decay, stage.final_rate}.factor(in_stage);
    optimizer.update(result.rate, result.norms);
    OpClock::read("optimizer", OpClock::Pass::other);
    arena.check();
    return result;
}

Trainer::Trainer(Wavllm& model, const Tokenizer& tokenizer, std::span<const ExampleSet> train,
                 std::span<const ExampleSet> valid, RunFolder& run, Callbacks callbacks)
    : model_(model),
      tokenizer_(tokenizer),
      train_(train),
      valid_(valid),
      run_(run),
      callbacks_(std::move(callbacks)),
      preset_(run.preset()),
      stages_(preset_.all_stages()),
      optimizer_(model.parameters(),
                 {{preset_.train.beta1, preset_.train.beta2, preset_.train.eps, preset_.train.weight_decay},
                  preset_.train.clip_norm}) {
    if (preset_.has_ctc()) {
        std::vector<const SpeechExample*> all;
        for (const ExampleSet& set : train_)
            for (const SpeechExample& e : set.examples) all.push_back(&e);
        ctc_classes_.emplace(
            all, CtcClasses::Config{preset_.ctc.frequent, preset_.ctc.random, model.llama().config().vocab,
                                    static_cast<uint64_t>(preset_.train.seed), model.ctc().config().tokens});
    }
    // backwards, so that it ends in the first: whatever is wrong with a stage is said before the first step
    for (size_t i = stages_.size(); i-- > 0;) enter_stage(i);
}

void Trainer::enter_stage(size_t index) {
    const Stage& stage = stages_[index];
    stage_ = index;
    stage_begin_ = 0;
    for (size_t i = 0; i < index; ++i) stage_begin_ += stages_[i].steps;
    stage_end_ = stage_begin_ + stage.steps;
    std::vector<MixedSampler::Set> sets;
    for (const ExampleSet& set : train_) {
        MixedSampler::Set s{set.name, {}, share_of(stage, set.name)};
        for (const SpeechExample& e : set.examples) {
            s.seconds.push_back(e.seconds);
            if (s.share > 0 && stage.ctc_weight > 0 && !e.is_transcript())
                throw UsageError(
                    "train: stage \"{}\" has CTC, but \"{}\" in set \"{}\" is of task \"{}\": CTC needs answers that "
                    "say what is spoken (tasks asr and digits); give the set no share there",
                    stage.name, e.id, set.name, e.task);
        }
        sets.push_back(std::move(s));
    }
    sampler_.emplace(std::move(sets), sampler_config(preset_, stage, index), stage.min_seconds, stage.max_seconds);
    optimizer_.configure(group_settings(preset_, stage_begin_));
}

void Trainer::enter_stage_of(int64_t step) {
    enter_stage(0);
    while (step >= stage_end_) enter_stage(stage_ + 1);
    optimizer_.configure(group_settings(preset_, step));
}

std::vector<SpeechBatch> Trainer::batches(int64_t step, StepResult& totals) {
    const Stage& stage = stages_[stage_];
    const auto seed = static_cast<uint64_t>(preset_.train.seed);
    std::vector<SpeechBatch> result;
    for (int64_t i = 0; i < preset_.train.accumulate; ++i) {
        const int64_t micro = (step - stage_begin_) * preset_.train.accumulate + i;
        const MixedSampler::Batch drawn = sampler_->batch(micro);
        std::vector<const SpeechExample*> clips;
        std::vector<int64_t> keys, rows, heard;  // heard: keys of clips with speech
        for (size_t index : *drawn.clips) {
            clips.push_back(&train_[drawn.set].examples[index]);
            keys.push_back(clips.back()->key);
            rows.push_back(clips.back()->feature_rows());
            if (rows.back() > 0) heard.push_back(keys.back());
            totals.audio_seconds += clips.back()->seconds;
        }
        const std::string& set = train_[drawn.set].name;
        if (totals.set.find(set) == std::string::npos) totals.set += (totals.set.empty() ? "" : "+") + set;
        SpeechBatch batch = make_batch(clips, true, model_.bridge());
        if (batch.features.defined())
            mask_features(batch.features, kernels::make_borders(rows), keys, mask_config(stage), seed,
                          static_cast<uint32_t>(step));
        // the same spans in every hidden state: each is a view of the same 20 ms
        for (int64_t l = 0; batch.acoustic.defined() && l < batch.acoustic.dim(0); ++l) {
            Tensor layer = batch.acoustic.select(0, l);
            mask_features(layer, batch.acoustic_borders, heard, mask_config(stage), seed, static_cast<uint32_t>(step));
        }
        if (stage.ctc_weight > 0) batch.ctc = ctc_classes_->targets(clips, static_cast<uint32_t>(step));
        result.push_back(std::move(batch));
    }
    return result;
}

TrainReport Trainer::run() {
    const StopSignalScope signals;
    TrainReport report;
    const int64_t total = preset_.total_steps();
    int64_t step = run_.restore(optimizer_);
    int64_t saved = step > 0 ? step : -1;
    record_clips(run_, answered({}));
    if (step > 0 && step < total) enter_stage_of(step);
    for (; step < total && !stop_requested(); ++step) {
        if (step < stage_begin_ || step >= stage_end_) enter_stage_of(step);
        const Stage& stage = stages_[stage_];
        const double start = now();
        StepResult totals;
        StepResult r = [&] {
            const OpClock::Running running(clock_);
            const auto micro_batches = batches(step, totals);
            OpClock::read("batches", OpClock::Pass::other);
            return training_step(model_, optimizer_, micro_batches, step, step - stage_begin_, stage, preset_);
        }();
        ++clocked_steps_;
        r.audio_seconds = totals.audio_seconds;
        r.set = totals.set;
        const double seconds = now() - start;
        log_step(step, stage, r, seconds);
        if (callbacks_.step) callbacks_.step(step, stage, r, seconds);
        const int64_t done = step + 1;
        const bool last = done == total, stage_ends = done == stage_end_;
        if (stage_ends || (preset_.train.validate_every > 0 && done % preset_.train.validate_every == 0))
            report.validations = validate(done, true);
        if (stage_ends || done % preset_.train.save_every == 0) {
            run_.save(done, optimizer_, preset_.train.keep);
            saved = done;
        }
        if (last) report.steps_done = done;
    }
    report.steps_done = step;
    report.stopped = step < total;
    if (report.stopped) {
        if (saved != step) run_.save(step, optimizer_, preset_.train.keep);
        return report;
    }
    // resumed after the last step: the metrics have its validation already
    if (report.validations.empty()) {
        enter_stage(stages_.size() - 1);
        report.validations = validate(step, false);
    }
    run_.save_adapter(optimizer_.parameters());
    return report;
}

void Trainer::log_step(int64_t step, const Stage& stage, const StepResult& r, double seconds) {
    nlohmann::ordered_json line = {{"step", step}, {"stage", stage.name}, {"loss", r.loss}};
    if (train_.size() > 1) line["set"] = r.set;
    if (stage.ce_weight > 0) line["ce"] = r.ce;
    if (stage.ctc_weight > 0) line["ctc"] = r.ctc;
    line["rate"] = r.rate;
    line["grad_norm"] = r.norms.total;
    for (size_t g = 0; g < kParameterGroups.size(); ++g)
        if (r.norms.groups[g] > 0) line[fmt::format("grad_norm_{}", kParameterGroups[g])] = r.norms.groups[g];
    line["target_tokens"] = r.tokens;
    line["audio_seconds"] = r.audio_seconds;
    run_.log(line);
    run_.log_timing(
        {{"step", step}, {"seconds", seconds}, {"peak_bytes", memory::total(model_.llama().device()).peak}});
}

std::vector<const SpeechExample*> Trainer::validated(const ExampleSet& set) const {
    return pointers_to(set.examples, static_cast<size_t>(preset_.train.validate_clips));
}

/// The validation sets with what `validations` (of the same sets, or none) found.
std::vector<AnsweredSet> Trainer::answered(const std::vector<Validation>& validations) const {
    std::vector<AnsweredSet> sets;
    for (size_t i = 0; i < valid_.size(); ++i) {
        AnsweredSet& s = sets.emplace_back(AnsweredSet{valid_[i].name, validated(valid_[i])});
        if (i >= validations.size()) continue;
        if (validations[i].llm) s.llm = &*validations[i].llm;
        if (validations[i].ctc) s.ctc = &*validations[i].ctc;
    }
    return sets;
}

/// Leaves what the report shows; `seconds`: that the validations took.
void Trainer::record(int64_t steps_done, const std::vector<Validation>& validations, double seconds) {
    const std::vector<AnsweredSet> sets = answered(validations);
    record_validation(run_, steps_done, sets);
    record_attention(run_, steps_done, model_, tokenizer_, sets);
    run_.log_timing({{"step", steps_done - 1}, {"validation_seconds", seconds}});
    record_profile(run_, steps_done, stages_[stage_].name, clocked_steps_, clock_, model_.llama().device());
    clock_.clear();
    clocked_steps_ = 0;
}

std::vector<Validation> Trainer::validate(int64_t steps_done, bool log) {
    const Stage& stage = stages_[stage_];
    const AnswerOptions options{.max_new_tokens = preset_.data.max_new_tokens};
    const double start = now();
    std::vector<Validation> result;
    for (const ExampleSet& set : valid_) {
        const auto clips = validated(set);
        Validation v;
        v.set = set.name;
        nlohmann::ordered_json line = {{"step", steps_done - 1}, {"valid", set.name}};
        const auto rates = [&](const std::string& prefix, const Evaluation& e) {
            line[prefix + "wer"] = e.rates.normal_words.rate();
            line[prefix + "cer"] = e.rates.normal_characters.rate();
            line[prefix + "accuracy"] = e.accuracy();
        };
        if (stage.ce_weight > 0) {
            line["loss"] = *(v.loss = mean_loss(model_, clips));
            rates("", *(v.llm = evaluate(model_, tokenizer_, clips, options)));
        }
        if (stage.ctc_weight > 0) rates("ctc_", *(v.ctc = evaluate_by_ctc(model_, tokenizer_, clips)));
        if (log) run_.log(line);
        result.push_back(std::move(v));
    }
    if (log) record(steps_done, result, now() - start);
    if (callbacks_.validation && !result.empty()) callbacks_.validation(steps_done, result);
    return result;
}

}  // namespace wavllm
