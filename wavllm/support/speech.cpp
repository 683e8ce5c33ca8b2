#include "wavllm/support/speech.h"

#include "data/progress.h"
#include "models/whisper/whisper.h"
#include "tensor/text.h"
#include "wavllm/support/language_model.h"
#include "wavllm/support/model_files.h"

namespace wavllm {

std::filesystem::path preset_path(const std::string& name, const std::filesystem::path& home) {
    if (std::filesystem::is_regular_file(name)) return name;
    const std::filesystem::path path = home / "presets" / (name + ".json");
    if (name.find('/') == std::string::npos && std::filesystem::exists(path)) return path;
    std::vector<std::string> known;
    for (const auto& entry : std::filesystem::directory_iterator(home / "presets"))
        if (entry.path().extension() == ".json" && entry.path().stem() != "sources")
            known.push_back(entry.path().stem().string());
    std::sort(known.begin(), known.end());
    throw UsageError("preset \"{}\": no such file, and the presets are: {}", printable(name), fmt::join(known, ", "));
}

System load_system(const Preset& preset) {
    const DType panels = preset.model.frozen_dtype == "bf16" ? DType::bf16 : DType::f32;
    const auto whisper = open_checkpoint(find_model(preset.model.whisper).model());
    auto encoder = std::make_shared<const WhisperEncoder>(Whisper::load_encoder(*whisper, whisper_config(*whisper)));
    LanguageModel llm = load_language_model(preset.model.llm, panels);
    return build_system(preset, std::move(encoder), std::make_shared<const Llama>(std::move(llm.llama)),
                        std::move(llm.tokenizer));
}

std::vector<SpeechExample> load_with_progress(const System& system, const std::filesystem::path& manifest,
                                              const std::string& what) {
    std::optional<Progress> bar;
    auto examples = load_examples(system, manifest, [&](size_t done, size_t total) {
        if (!bar) bar.emplace("encode " + what, static_cast<int64_t>(total), "clips");
        bar->update(static_cast<int64_t>(done));
    });
    if (bar) bar->finish();
    return examples;
}

TrainReport train_run(System& system, std::span<const SpeechExample> train, std::span<const SpeechExample> valid,
                      RunFolder& run) {
    Progress bar("train", run.preset().train.steps, "steps");
    Trainer::Callbacks callbacks;
    bool first = true;
    callbacks.step = [&](int64_t step, const StepResult& r, double) {
        if (first) bar.resume_at(step);
        first = false;
        bar.update(step + 1, fmt::format("loss {:.4f}  |grad| {:.2f}", r.loss, r.norms.total));
    };
    callbacks.validation = [&](int64_t steps_done, double loss, const Evaluation& e) {
        std::fprintf(stderr, "\nvalidation after %ld steps: loss %.4f, %s\n", steps_done, loss, summary(e).c_str());
    };
    Trainer trainer(*system.model, *system.tokenizer, train, valid, run, callbacks);
    const TrainReport report = trainer.run();
    bar.finish();
    return report;
}

System load_adapter_system(const std::filesystem::path& adapter) {
    System system = load_system(adapter_preset(adapter));
    Parameters parameters = system.model->parameters();
    load_adapter(adapter, parameters);
    return system;
}

std::string summary(const Evaluation& e) {
    return fmt::format("{} of {} exactly right ({:.1f} %), {}", e.exact, e.answers.size(), 100 * e.accuracy(),
                       format_rates(e.rates.normal_words, e.rates.normal_characters));
}

}  // namespace wavllm
