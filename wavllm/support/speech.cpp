#include "wavllm/support/speech.h"

#include "data/progress.h"
#include "tensor/text.h"

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

FetchProgress download_progress() {
    auto bar = std::make_shared<std::unique_ptr<Progress>>();
    auto title = std::make_shared<std::string>();
    return [=](std::string_view doing, uint64_t done, uint64_t total) {
        if (*title != doing) {
            *title = std::string(doing);
            *bar = std::make_unique<Progress>(*title, static_cast<int64_t>(total), "B");
        }
        (*bar)->update(static_cast<int64_t>(done));
        if (total > 0 && done >= total) (*bar)->finish();
    };
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

System load_adapter_system(const std::filesystem::path& adapter, const std::filesystem::path& home) {
    System system = build_system(adapter_preset(adapter), home, download_progress());
    Parameters parameters = system.model->parameters();
    load_adapter(adapter, parameters);
    return system;
}

std::string summary(const Evaluation& e) {
    return fmt::format("{} of {} exactly right ({:.1f} %), {}", e.exact, e.answers.size(), 100 * e.accuracy(),
                       format_rates(e.rates.normal_words, e.rates.normal_characters));
}

std::vector<const SpeechExample*> pointers_to(std::span<const SpeechExample> examples, size_t most) {
    std::vector<const SpeechExample*> result;
    const size_t n = most > 0 ? std::min(most, examples.size()) : examples.size();
    for (size_t i = 0; i < n; ++i) result.push_back(&examples[i * examples.size() / n]);
    return result;
}

}  // namespace wavllm
