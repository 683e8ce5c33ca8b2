// wavllm pretrain wavlm: masked prediction of clusters.

#include "train/pretrain/wavlm.h"

#include <fmt/format.h>

#include "data/progress.h"
#include "wavllm/pretrain/run.h"

namespace wavllm {

namespace {

struct Options {
    WavlmPretrainOptions run;
    std::string out;
    bool resume = false;
};

std::vector<PretrainClip> load(const std::vector<std::string>& manifests, const WavlmConfig& config,
                               const std::string& what) {
    Progress bar("read", 0, "clips");
    return load_pretrain_clips(manifests, config.window() + config.hop(), [&](int64_t done, int64_t total) {
        bar.set_total(total);
        bar.update(done, what);
    });
}

int run(const Options& o, const cli::App& app) {
    if (!o.resume && o.run.train.empty())
        throw UsageError("pretrain wavlm: name what to train on: --manifest FILE (may be given again)");
    const auto [folder, options] = open_run(app, o.out, o.resume, o.run);
    const WavlmConfig config = wavlm_size(options.size);
    auto clips = load(options.train, config, "to train on");
    auto valid = options.valid.empty() ? std::vector<PretrainClip>() : load(options.valid, config, "to validate with");
    double seconds = 0;
    for (const PretrainClip& c : clips) seconds += static_cast<double>(c.samples.size()) / 16000;
    const size_t count = clips.size();
    WavlmPretraining training(folder, options, std::move(clips), std::move(valid));
    const ClusterSummary& k = training.clusters();
    fmt::print(
        "{} clips, {} of speech; {} frames in {} clusters ({} iterations, mean squared distance {:.4g}, the largest "
        "has "
        "{:.1f} %)\n{} parameters\n",
        count, format_duration(seconds), k.frames, options.clusters, k.iterations, k.inertia, 100 * k.largest,
        wavllm::count(training.parameters()));
    if (!train_to_end(app, o.out, options.run.steps, training, [](const nlohmann::ordered_json& line) {
            return fmt::format("loss {:.3f}  {:.1f} % right", line["loss"].get<double>(),
                               100 * line["accuracy"].get<double>());
        }))
        return 130;
    if (!options.valid.empty()) {
        const auto v = training.validate();
        fmt::print("validation: loss {:.3f}, {:.1f} % of the masked frames right\n", v["loss"].get<double>(),
                   100 * v["accuracy"].get<double>());
    }
    fmt::print("model: {}\n", folder.model().string());
    return 0;
}

WAVLLM_PART(
    pretrain, wavlm,
    {"wavlm", "WavLM: say which cluster the frames belong to that were hidden, through other speakers and noise",
     "wavllm pretrain wavlm --manifest samples/speech_train.tsv --steps 100 --out runs/wavlm", [](cli::App& app) {
         auto o = std::make_shared<Options>();
         WavlmPretrainOptions& r = o->run;
         app.add_option("--manifest", r.train, "recordings to train on, TSV or JSONL (may be given again)");
         app.add_option("--valid", r.valid, "recordings whose loss is reported");
         app.add_option("--out", o->out, "folder of the run")->required();
         app.add_flag("--resume", o->resume, "go on where the run's newest checkpoint stands");
         app.add_option("--size", r.size, "micro, micro-large (LayerNorm everywhere), small or base")
             ->capture_default_str();
         app.add_option("--targets", r.targets, "mfcc, or the folder of a trained WavLM: clusters of its features")
             ->capture_default_str();
         app.add_option("--layer", r.layer, "of those features (default: the middle one)")->positive();
         app.add_option("--clusters", r.clusters, "how many")->capture_default_str()->positive();
         app.add_option("--steps", r.run.steps, "of the whole run")->capture_default_str()->positive();
         app.add_option("--warmup", r.run.warmup_steps, "steps until the rate is reached")
             ->capture_default_str()
             ->not_negative();
         app.add_option("--rate", r.run.rate, "peak learning rate")->capture_default_str()->positive();
         app.add_option("--batch-seconds", r.batch_seconds, "of speech in a step")->capture_default_str()->positive();
         app.add_option("--crop-seconds", r.crop_seconds, "of a clip in a step, at most")
             ->capture_default_str()
             ->positive();
         app.add_option("--mask-start", r.spans.start, "share of frames that begin a hidden span")
             ->capture_default_str()
             ->range(0.0, 1.0);
         app.add_option("--mask-length", r.spans.length, "frames of a span")->capture_default_str()->positive();
         app.add_option("--visible-weight", r.visible_weight, "of the loss on frames that are heard")
             ->capture_default_str()
             ->not_negative();
         app.add_option("--mix", r.mix.share, "share of clips that another one, or noise, is mixed into")
             ->capture_default_str()
             ->range(0.0, 1.0);
         app.add_option(
                "--alter", r.alter_share,
                "share of clips heard as if recorded elsewhere: another room, noise, a narrow band, another level")
             ->capture_default_str()
             ->range(0.0, 1.0);
         app.add_option("--save-every", r.run.save_every, "steps")->capture_default_str()->positive();
         app.add_option("--validate-every", r.run.validate_every, "steps; 0: at the end")
             ->capture_default_str()
             ->not_negative();
         app.add_option("--seed", r.run.seed, "of weights, clusters, batches, masks and mixtures")
             ->capture_default_str();
         return [o, &app] { return run(*o, app); };
     }});

}  // namespace

}  // namespace wavllm
