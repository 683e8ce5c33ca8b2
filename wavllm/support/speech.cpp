#include "wavllm/support/speech.h"

#include "data/json.h"
#include "data/progress.h"
#include "models/checkpoint/identity.h"
#include "models/known_sizes.h"
#include "models/wavllm/released_system.h"
#include "models/whisper/whisper.h"
#include "tensor/text.h"
#include "train/start.h"
#include "wavllm/report/report.h"
#include "wavllm/support/home.h"
#include "wavllm/support/language_model.h"
#include "wavllm/support/model_files.h"
#include "wavllm/support/origin.h"
#include "wavllm/support/random_system.h"
#include "wavllm/support/tokenizer_file.h"

namespace wavllm {

std::filesystem::path preset_path(const std::string& name, const std::filesystem::path& home) {
    if (std::filesystem::is_regular_file(name)) return name;
    const std::filesystem::path path = home / "presets" / (name + ".json");
    if (name.find('/') == std::string::npos && std::filesystem::exists(path)) return path;
    throw UsageError("preset \"{}\": no such file, and the presets are: {}", printable(name),
                     fmt::join(preset_names(home), ", "));
}

System load_system(const Preset& preset) {
    if (preset.model.random_weights) return load_random_system(preset);
    const DType panels = frozen_dtype(preset.model.frozen_dtype);
    const auto whisper = open_checkpoint(find_model(preset.model.whisper).model());
    auto encoder =
        std::make_shared<const WhisperEncoder>(Whisper::load_encoder(*whisper, whisper_config(*whisper), panels));
    LanguageModel llm = load_language_model(preset.model.llm, panels, preset.model.norm_eps);
    std::shared_ptr<const WavlmEncoder> wavlm;
    if (!preset.model.wavlm.empty())
        wavlm = std::make_shared<const WavlmEncoder>(
            load_wavlm(*open_checkpoint(find_model(preset.model.wavlm).model()), panels));
    return build_system(preset, std::move(encoder), std::make_shared<const Llama>(std::move(llm.llama)),
                        std::move(llm.tokenizer), std::move(wavlm));
}

BaseModels base_models(const Preset& preset) {
    BaseModels result;
    for (const auto& [part, name] :
         {std::pair("whisper", &preset.model.whisper), {"wavlm", &preset.model.wavlm}, {"llm", &preset.model.llm}}) {
        if (name->empty()) continue;  // without WavLM
        result[part] = {*name, preset.model.random_weights
                                   ? fmt::format("drawn at random from seed {}", preset.train.seed)
                                   : weights_identity(*open_checkpoint(find_model(*name).model()))};
    }
    return result;
}

BaseConfigs base_configs(const Preset& preset) {
    const auto& [whisper, wavlm, llm] = std::tie(preset.model.whisper, preset.model.wavlm, preset.model.llm);
    BaseConfigs configs;
    if (preset.model.random_weights) {
        configs.whisper = known_whisper_encoder(whisper);
        if (!wavlm.empty()) configs.wavlm = known_wavlm(wavlm);
        configs.llama = known_llama(llm);
        return configs;
    }
    const auto open = [](const std::string& name) { return open_checkpoint(find_model(name).model()); };
    configs.whisper = whisper_config(*open(whisper));
    if (!wavlm.empty()) configs.wavlm = wavlm_config(*open(wavlm));
    configs.llama = llama_config(*open(llm));
    return configs;
}

void check_start(const Preset& preset, const std::filesystem::path& home) {
    if (preset.train.from.empty()) return;
    const AdapterFile file(start_file(preset.train.from, home));
    for (const std::string& line : check_start(file, preset, base_models(preset)))
        std::fprintf(stderr, "%s\n", line.c_str());
    file.check_shapes(preset, base_configs(preset), /*may_lack_prompt_adapter=*/true);
}

std::vector<SpeechExample> load_with_progress(const System& system, const FeatureCache* cache,
                                              std::span<const std::filesystem::path> manifests, const std::string& what,
                                              EncodeSummary* summary) {
    std::optional<Progress> bar;
    const auto whole = [](double seconds) { return static_cast<int64_t>(std::ceil(seconds)); };
    auto examples = load_examples(
        system, manifests, cache,
        [&](double done, double total) {
            if (!bar) bar.emplace("encode " + what, 0, "s of audio");
            bar->set_total(whole(total));
            bar->update(whole(done));
        },
        summary);
    if (bar) bar->finish();
    return examples;
}

std::vector<SpeechExample> load_with_progress(const System& system, const FeatureCache* cache,
                                              const std::filesystem::path& manifest, const std::string& what) {
    return load_with_progress(system, cache, std::span(&manifest, 1), what);
}

std::unique_ptr<FeatureCache> feature_cache(const System& system, bool no_cache) {
    return no_cache ? nullptr : open_feature_cache(system);
}

void expect_manifests(const Manifests& manifests, const std::filesystem::path& home) {
    for (const auto& [name, manifest] : manifests)
        if (!std::filesystem::exists(home / manifest))
            throw UsageError(
                "{}: the manifest of set \"{}\" is not there: make it (`wavllm data --help`; docs/small.md has the "
                "commands "
                "for presets/small.json), or name another with --set",
                (home / manifest).string(), name);
}

std::vector<ExampleSet> load_sets(const System& system, const FeatureCache* cache, const Manifests& manifests,
                                  const std::filesystem::path& home, const std::string& what) {
    std::vector<ExampleSet> sets;
    int64_t keys = 0;
    for (const auto& [name, manifest] : manifests) {
        sets.push_back({name, load_with_progress(system, cache, home / manifest,
                                                 manifests.size() > 1 ? fmt::format("{} ({})", what, name) : what)});
        for (SpeechExample& e : sets.back().examples) e.key += keys;
        keys += static_cast<int64_t>(sets.back().examples.size());
    }
    return sets;
}

namespace {

/// A report that cannot be written is said; it does not end a run.
void try_report(const std::filesystem::path& run) {
    try {
        write_report(run);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "\nthe report was not written: %s\n", e.what());
    }
}

}  // namespace

TrainReport train_run(System& system, std::span<const ExampleSet> train, std::span<const ExampleSet> valid,
                      RunFolder& run) {
    record_origin(run, system);
    run.set_base(base_models(run.preset()));
    Progress bar("train", run.preset().total_steps(), "steps");
    Trainer::Callbacks callbacks;
    bool first = true;
    callbacks.step = [&](int64_t step, const Stage& stage, const StepResult& r, double) {
        if (first) bar.resume_at(step);
        first = false;
        std::string losses;
        if (stage.ce_weight > 0) losses += fmt::format("loss {:.3f}  ", r.ce);
        if (stage.ctc_weight > 0) losses += fmt::format("ctc {:.3f}  ", r.ctc);
        bar.update(step + 1, fmt::format("{}: {}|grad| {:.2f}", stage.name, losses, r.norms.total));
    };
    callbacks.validation = [&](int64_t steps_done, const std::vector<Validation>& v) {
        std::fprintf(stderr, "\nvalidation after %ld steps: %s\n", steps_done, summary(v).c_str());
        try_report(run.path());
    };
    Trainer trainer(*system.model, *system.tokenizer, train, valid, run, callbacks);
    const TrainReport report = trainer.run();
    bar.finish();
    try_report(run.path());
    return report;
}

System load_adapter_system(const std::filesystem::path& adapter, const std::string& frozen) {
    if (const auto checkpoint = open_checkpoint(adapter); is_released(*checkpoint)) {
        System system = load_released_system(*checkpoint, open_tokenizer_beside(adapter), heads_beside(adapter),
                                             frozen_dtype(frozen));
        system.preset.model.frozen_dtype = frozen;
        return system;
    }
    const AdapterFile file(adapter);
    Preset preset = file.preset();
    if (frozen != "auto") preset.model.frozen_dtype = frozen;
    file.check_base(base_models(preset));
    file.check_shapes(preset, base_configs(preset));  // before anything is made of its sizes
    System system = load_system(preset);
    Parameters parameters = system.model->parameters();
    file.copy_to(parameters);
    return system;
}

std::string summary(const Evaluation& e) {
    return fmt::format("{} of {} exactly right ({:.1f} %), {}", e.exact, e.answers.size(), 100 * e.accuracy(),
                       format_rates(e.rates.normal_words, e.rates.normal_characters));
}

std::string summary(const std::vector<Validation>& validations) {
    std::string text;
    for (const Validation& v : validations) {
        if (validations.size() > 1) text += fmt::format("\n  {}: ", v.set);
        if (v.loss) text += fmt::format("loss {:.4f}, ", *v.loss);
        if (v.llm) text += summary(*v.llm);
        if (v.ctc) text += fmt::format("{}CTC head: {}", v.llm ? "\n    " : "", summary(*v.ctc));
    }
    return text;
}

}  // namespace wavllm
