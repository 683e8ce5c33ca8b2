// wavllm pretrain whisper: the text of recordings, byte by byte.

#include "train/pretrain/whisper.h"

#include <fmt/format.h>

#include <numbers>

#include "data/progress.h"
#include "tensor/text.h"
#include "wavllm/pretrain/run.h"

namespace wavllm {

namespace {

constexpr size_t kShown = 3;  // transcripts at the end

struct Options {
    WhisperPretrainOptions run;
    std::string out;
    bool resume = false;
};

std::vector<TranscribedClip> load(const std::vector<std::string>& manifests, const WhisperConfig& config,
                                  const std::string& what) {
    Progress bar("read", 0, "clips");
    int64_t left_out = 0;
    auto clips = load_transcribed_clips(manifests, config.mels, config.max_target_positions - 1, left_out,
                                        [&](int64_t done, int64_t total) {
                                            bar.set_total(total);
                                            bar.update(done, what);
                                        });
    bar.finish();
    fmt::print("{} clips {}; {} left out: without text, too long, or of more than 30 s\n", clips.size(), what,
               left_out);
    return clips;
}

std::string bits(double nats) {
    return fmt::format("{:.3f} bits a byte", nats / std::numbers::ln2);
}

int run(const Options& o, const cli::App& app) {
    if (!o.resume && o.run.train.empty())
        throw UsageError("pretrain whisper: name what to train on: --manifest FILE (may be given again)");
    const auto [folder, options] = open_run(app, o.out, o.resume, o.run);
    const WhisperConfig config = whisper_size(options.size);
    auto clips = load(options.train, config, "to train on");
    auto valid =
        options.valid.empty() ? std::vector<TranscribedClip>() : load(options.valid, config, "to validate with");
    const auto shown = std::vector(valid.begin(), valid.begin() + static_cast<int64_t>(std::min(kShown, valid.size())));
    WhisperPretraining training(folder, options, std::move(clips), std::move(valid));
    fmt::print("{} parameters\n", count(training.model().parameters()));
    if (!train_to_end(app, o.out, options.run.steps, training,
                      [](const nlohmann::ordered_json& line) { return bits(line["loss"].get<double>()); }))
        return 130;
    if (!shown.empty()) {
        const auto v = training.validate();
        fmt::print("validation: {}, {:.1f} % of the bytes right with those before given\n",
                   bits(v["loss"].get<double>()), 100 * v["accuracy"].get<double>());
    }
    const Whisper whisper = Whisper::load(*open_checkpoint(folder.model()));
    for (const TranscribedClip& c : shown)
        fmt::print("{}\n  said:  {}\n  heard: {}\n", c.id, printable(c.text),
                   printable(transcribe_bytes(whisper, c.mel, 2 * static_cast<int64_t>(c.text.size()) + 10)));
    fmt::print("model: {}\n", folder.model().string());
    return 0;
}

WAVLLM_PART(
    pretrain, whisper,
    {"whisper", "Whisper: the text of recordings, byte by byte",
     "wavllm pretrain whisper --manifest samples/digits_train.tsv --steps 100 --out runs/whisper", [](cli::App& app) {
         auto o = std::make_shared<Options>();
         WhisperPretrainOptions& r = o->run;
         app.add_option("--manifest", r.train, "recordings with their texts, TSV or JSONL (may be given again)");
         app.add_option("--valid", r.valid, "recordings whose loss is reported");
         app.add_option("--out", o->out, "folder of the run")->required();
         app.add_flag("--resume", o->resume, "go on where the run's newest checkpoint stands");
         app.add_option("--size", r.size, "micro")->capture_default_str();
         app.add_option("--steps", r.run.steps, "of the whole run")->capture_default_str()->positive();
         app.add_option("--warmup", r.run.warmup_steps, "steps until the rate is reached")
             ->capture_default_str()
             ->not_negative();
         app.add_option("--rate", r.run.rate, "peak learning rate")->capture_default_str()->positive();
         app.add_option("--batch-seconds", r.batch_seconds, "of speech in a step, its second of silence included")
             ->capture_default_str()
             ->positive();
         app.add_option("--save-every", r.run.save_every, "steps")->capture_default_str()->positive();
         app.add_option("--validate-every", r.run.validate_every, "steps; 0: at the end")
             ->capture_default_str()
             ->not_negative();
         app.add_option("--seed", r.run.seed, "of weights and batches")->capture_default_str();
         return [o, &app] { return run(*o, app); };
     }});

}  // namespace

}  // namespace wavllm
