// wavllm demo: real weights, real speech in, text out, and a training run that learns, in a few minutes on two cores.

#include <cstdio>

#include "data/audio.h"
#include "data/progress.h"
#include "data/synth/synth.h"
#include "infer/whisper_transcribe.h"
#include "tensor/thread_pool.h"
#include "wavllm/command.h"
#include "wavllm/support/home.h"
#include "wavllm/support/speech.h"
#include "wavllm/support/stopwatch.h"
#include "wavllm/support/whisper_model.h"

namespace wavllm {

namespace {

struct Options {
    std::string out = "runs/demo";
    double hours = 2.5;
    int64_t sentences = 5;
    bool fresh = false, no_cache = false;
};

// What has to come out: small parts of what a run reached that was not cut short for a demo (docs/small.md).
constexpr double kWorstRate = 0.45;    // word error rate of speakers it never heard, on clips of
constexpr double kLongestClip = 8;     // seconds at most
constexpr double kFewestDigits = 0.9;  // of speakers it never heard

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

void print_some(const Evaluation& e, size_t most) {
    for (size_t i = 0; i < e.answers.size(); i += e.answers.size() / most + 1)
        std::printf("    said:   %s\n    answer: %s\n", e.answers[i].reference.c_str(), e.answers[i].text.c_str());
    std::fflush(stdout);
}

/// Sentences of samples/text, spoken by flite's voices at the tempo of people who read.
void make_speech(const Options& o, const std::filesystem::path& home) {
    SynthOptions s;
    s.text = home / "samples" / "text" / "sentences.tsv.gz";
    s.out = std::filesystem::path(o.out) / "data";
    s.exclude = {home / "samples" / "speech_valid.tsv", home / "samples" / "speech_test.tsv"};
    s.hours = o.hours;
    s.max_seconds = 16;
    s.voices = "flite-*";
    s.slowest = 0.62;
    s.fastest = 1.1;
    s.effects = {.room = 0.25, .noise = 0.25, .band = 0.05, .quiet = 0.05};
    s.sources = {{"libritts", 4}, {"ljspeech", 2}, {"kjv", 1}};
    s.jobs = num_threads();
    const SynthReport::Set set = synthesize(s).sets.back();
    std::printf("  %ld clips, %.1f hours, %ld different words\n", set.clips, set.hours, set.word_types);
}

/// A run that was stopped goes on; one that is complete is evaluated again.
RunFolder open_run(const Options& o, const std::filesystem::path& home) {
    if (std::filesystem::exists(std::filesystem::path(o.out) / "config.json")) return RunFolder::open(o.out);
    const std::vector<std::string> set{
        fmt::format("data.train.synth={}", (std::filesystem::absolute(o.out) / "data" / "train.tsv").string())};
    return RunFolder::create(o.out, load_preset(home / "presets" / "demo.json", set));
}

struct Scores {
    Evaluation speech, digits;
};

Scores score(const System& system, const std::vector<SpeechExample>& speech, const std::vector<SpeechExample>& digits) {
    std::vector<const SpeechExample*> brief;
    for (const SpeechExample& e : speech)
        if (e.seconds <= kLongestClip) brief.push_back(&e);
    const AnswerOptions options{.max_new_tokens = system.preset.data.max_new_tokens};
    const Wavllm& model = *system.model;
    std::printf("  sentences of up to %.0f s, %zu clips\n", kLongestClip, brief.size());
    std::printf("    CTC head alone:   %s\n", summary(evaluate_by_ctc(model, *system.tokenizer, brief)).c_str());
    Scores s{evaluate_jointly(model, *system.tokenizer, brief, options), {}};
    std::printf("    LLM and CTC head: %s\n", summary(s.speech).c_str());
    print_some(s.speech, 5);
    s.digits = evaluate(model, *system.tokenizer, pointers_to(digits), options);
    std::printf("  digits, %zu clips\n    LLM: %s\n", digits.size(), summary(s.digits).c_str());
    print_some(s.digits, 3);
    return s;
}

int demo(const Options& o) {
    if (o.sentences < 1) throw UsageError("--sentences {}: must be at least 1", o.sentences);
    if (!(o.hours > 0)) throw UsageError("--hours {}: must be positive", o.hours);
    const Stopwatch watch;
    const std::filesystem::path home = home_folder();
    if (o.fresh) std::filesystem::remove_all(o.out);
    if (std::filesystem::exists(std::filesystem::path(o.out) / "config.json"))
        std::printf("going on with the run in %s (--fresh starts anew)\n", o.out.c_str());

    heading(watch, "Speech to learn from: sentences spoken by flite's voices");
    make_speech(o, home);  // before anything else has threads: the engines run in processes of their own
    RunFolder run = open_run(o, home);
    const Preset& preset = run.preset();

    heading(watch, "Weights: Whisper base and SmolLM2-135M-Instruct (downloaded once, checked by SHA-256)");
    System system = load_system(preset);
    const Parameters parameters = system.model->parameters();
    std::printf("  frozen: Whisper encoder and LLM; trained: adapter, LoRA and CTC head, %.2f M parameters\n",
                static_cast<double>(count(parameters)) / 1e6);

    heading(watch, "Whisper base alone, its own decoder: what these ears can hear");
    transcribe_sentences(home / "samples" / "sentences.tsv", o.sentences);

    heading(watch, "The frozen encoder hears all clips once; what it says is kept");
    const auto cache = feature_cache(system, o.no_cache);
    const auto train_sets = load_sets(system, cache.get(), preset.data.train, home, "training clips");
    const auto valid_sets = load_sets(system, cache.get(), preset.data.valid, home, "validation clips");
    const auto test_sets = load_sets(system, cache.get(), preset.data.test, home, "test clips");

    heading(watch,
            "Training: first the adapter by CTC, then adapter and LoRA with the LLM (Ctrl-C stops, `demo` goes on)");
    const TrainReport report = train_run(system, train_sets, valid_sets, run);
    if (report.stopped) {
        std::printf("stopped after step %ld; `wavllm demo` goes on from there\n", report.steps_done);
        return 130;
    }

    heading(watch, "Speakers it never heard");
    const Scores s = score(system, test_sets[1].examples, test_sets[0].examples);
    const double rate = s.speech.rates.normal_words.rate(), digits = s.digits.accuracy();
    std::printf(
        "\n[%s] Word error rate %.1f %% on sentences, %.1f %% of the digits are right.\n"
        "The report with curves, recordings and their transcripts is %s. Try it:\n"
        "  build/wavllm transcribe --adapter %s samples/sentences/*.flac\n"
        "  build/wavllm eval --run %s --head joint\n"
        "  build/wavllm chat --prompt \"What is a spectrogram?\"\n",
        format_duration(watch.seconds()).c_str(), 100 * rate, 100 * digits, (run.path() / "report.html").c_str(),
        run.adapter_file().c_str(), o.out.c_str());
    if (rate > kWorstRate || digits < kFewestDigits) {
        std::fprintf(
            stderr,
            "wavllm: demo: expected were a word error rate of at most %.0f %% and at least %.0f %% of the digits\n",
            100 * kWorstRate, 100 * kFewestDigits);
        return 1;
    }
    return 0;
}

}  // namespace

WAVLLM_COMMAND(
    demo,
    {"demo", "a speech LLM learns to recognise speech in minutes, and is tested on speakers it never heard",
     "wavllm demo --out runs/demo", [](cli::App& app) {
         auto o = std::make_shared<Options>();
         app.add_option("--out", o->out, "folder of the run")->capture_default_str();
         app.add_option("--hours", o->hours, "of synthetic speech to learn from")->capture_default_str();
         app.add_option("--sentences", o->sentences, "sentences for Whisper to transcribe")->capture_default_str();
         app.add_flag("--fresh", o->fresh, "start anew, even if the folder holds a run");
         add_no_cache(app, o->no_cache);
         return [o] { return demo(*o); };
     }});

}  // namespace wavllm
