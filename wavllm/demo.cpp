// wavllm demo: real weights, real speech in, text out, and a training run that learns, in a few minutes on two cores.

#include <cstdio>

#include "data/audio.h"
#include "data/progress.h"
#include "infer/whisper_transcribe.h"
#include "wavllm/command.h"
#include "wavllm/support/speech.h"
#include "wavllm/support/stopwatch.h"
#include "wavllm/support/whisper_model.h"

namespace wavllm {

namespace {

struct Options {
    std::string out = "runs/demo";
    int64_t steps = 80;
    int64_t sentences = 12;
    bool fresh = false, no_cache = false;
};

constexpr double kGoal = 0.95;  // of the digits of speakers it never heard

void heading(const Stopwatch& watch, const char* text) {
    std::printf("\n[%s] %s\n", format_duration(watch.seconds()).c_str(), text);
    std::fflush(stdout);
}

void transcribe_sentences(const std::filesystem::path& manifest, int64_t most) {
    const WhisperModel whisper = load_whisper_model("whisper-base");
    const std::vector<ManifestRow> rows = read_manifest(manifest);
    ErrorRates rates;
    const size_t n = std::min(rows.size(), static_cast<size_t>(most));
    for (size_t i = 0; i < n; ++i) {
        const ManifestRow& row = rows[i * rows.size() / n];
        const Transcript t = transcribe(whisper.whisper, *whisper.tokenizer, read_audio(row.audio.string()));
        rates.add(row.tgt_text, t.text);
        std::printf("  %-12s %s\n  %-12s%s\n", "said:", row.tgt_text.c_str(), "Whisper:", t.text.c_str());
        std::fflush(stdout);
    }
    std::printf("  Whisper base on %zu sentences: %s\n", n,
                format_rates(rates.normal_words, rates.normal_characters).c_str());
}

Evaluation ask(const System& system, std::span<const SpeechExample> examples) {
    const Evaluation e = evaluate(*system.model, *system.tokenizer, pointers_to(examples),
                                  {.max_new_tokens = system.preset.data.max_new_tokens});
    std::printf("  %s\n", summary(e).c_str());
    for (size_t i = 0; i < e.answers.size(); i += e.answers.size() / 5 + 1)
        std::printf("    %-24s said: %-6s answer: %s\n", e.answers[i].id.c_str(), e.answers[i].reference.c_str(),
                    e.answers[i].text.c_str());
    std::fflush(stdout);
    return e;
}

/// A run that was stopped goes on; one that is complete is evaluated again.
RunFolder open_run(const Options& o, const std::filesystem::path& home) {
    if (o.fresh) std::filesystem::remove_all(o.out);
    if (std::filesystem::exists(std::filesystem::path(o.out) / "config.json")) {
        std::printf("going on with the run in %s (--fresh starts anew)\n", o.out.c_str());
        return RunFolder::open(o.out);
    }
    const std::vector<std::string> set{fmt::format("train.steps={}", o.steps), "train.validate_every=40",
                                       "train.save_every=20"};
    return RunFolder::create(o.out, load_preset(home / "presets" / "small-digits.json", set));
}

int demo(const Options& o) {
    if (o.sentences < 1) throw UsageError("--sentences {}: must be at least 1", o.sentences);
    const Stopwatch watch;
    const std::filesystem::path home = home_folder();
    RunFolder run = open_run(o, home);
    const Preset& preset = run.preset();

    heading(watch, "Weights: Whisper base and SmolLM2-135M-Instruct (downloaded once, checked by SHA-256)");
    System system = load_system(preset);
    const Parameters parameters = system.model->parameters();
    std::printf("  frozen: Whisper encoder and LLM; trained: adapter and LoRA, %.2f M parameters\n",
                static_cast<double>(count(parameters)) / 1e6);

    heading(watch, "Whisper base alone, on full sentences");
    transcribe_sentences(home / "samples" / "sentences.tsv", o.sentences);

    heading(watch, "Spoken digits: recordings of 4 speakers to learn from, 2 other speakers to be tested on");
    const auto cache = feature_cache(system, o.no_cache);
    const auto test_set = load_with_progress(system, cache.get(), home / preset.data.test.front().second, "test clips");
    const auto valid_sets = load_sets(system, cache.get(), preset.data.valid, home, "validation clips");
    std::printf("  before training, on a speaker it will never hear in training:\n");
    const Evaluation before = ask(system, test_set);
    const auto train_sets = load_sets(system, cache.get(), preset.data.train, home, "training clips");

    heading(watch, "Training");
    const TrainReport report = train_run(system, train_sets, valid_sets, run);
    if (report.stopped) {
        std::printf("stopped after step %ld; `wavllm demo` goes on from there\n", report.steps_done);
        return 130;
    }

    heading(watch, "After training, speakers it never heard");
    std::printf("  test speaker:\n");
    const Evaluation after = ask(system, test_set);
    std::printf("  validation speaker:\n");
    const Evaluation other = ask(system, valid_sets[0].examples);
    const double accuracy = static_cast<double>(after.exact + other.exact) /
                            static_cast<double>(after.answers.size() + other.answers.size());
    std::printf(
        "\n[%s] Digits of two unseen speakers: %.1f %% before on the test speaker, %.1f %% after; %.1f %% over both.\n"
        "The run is in %s (config.json, metrics.jsonl, adapter.safetensors). Try it:\n"
        "  build/wavllm eval --adapter %s --manifest samples/digits_test.tsv\n"
        "  build/wavllm transcribe --adapter %s samples/digits/*_theo_*.flac\n"
        "  build/wavllm transcribe samples/sentences/*.flac\n"
        "  build/wavllm chat --prompt \"What is a spectrogram?\"\n",
        format_duration(watch.seconds()).c_str(), 100 * before.accuracy(), 100 * after.accuracy(), 100 * accuracy,
        o.out.c_str(), run.adapter_file().c_str(), run.adapter_file().c_str());
    if (accuracy < kGoal) {
        std::fprintf(stderr, "wavllm: demo: %.1f %% of the digits are right; at least %.0f %% were expected\n",
                     100 * accuracy, 100 * kGoal);
        return 1;
    }
    return 0;
}

}  // namespace

WAVLLM_COMMAND(demo, {"demo", "train on spoken digits for a few minutes, then hear speakers it never trained on",
                      "wavllm demo --out runs/demo", [](CLI::App& app) {
                          auto o = std::make_shared<Options>();
                          app.add_option("--out", o->out, "folder of the run")->capture_default_str();
                          app.add_option("--steps", o->steps, "training steps")->capture_default_str();
                          app.add_option("--sentences", o->sentences, "sentences for Whisper to transcribe")
                              ->capture_default_str();
                          app.add_flag("--fresh", o->fresh, "start anew, even if the folder holds a run");
                          add_no_cache(app, o->no_cache);
                          return [o] { return demo(*o); };
                      }});

}  // namespace wavllm
