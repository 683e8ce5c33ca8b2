// wavllm train: a preset and manifests in, an adapter out.

#include <cstdio>

#include "data/progress.h"
#include "models/preset/compat.h"
#include "models/wavllm/system.h"
#include "tensor/text.h"
#include "train/start.h"
#include "train/trainer.h"
#include "wavllm/command.h"
#include "wavllm/support/home.h"
#include "wavllm/support/model_files.h"
#include "wavllm/support/random_system.h"
#include "wavllm/support/speech.h"
#include "wavllm/support/stopwatch.h"

namespace wavllm {

namespace {

struct Options {
    std::string preset = "small-digits", out, compat;
    std::vector<std::string> set;
    bool preset_given = false, resume = false, plain = false, no_cache = false, random_weights = false;
    std::string frozen;
    int64_t steps = 0;
};

/// --set and the options that are short for one.
std::vector<std::string> overrides(const Options& o) {
    std::vector<std::string> all = o.set;
    if (o.random_weights) all.push_back("model.random_weights=true");
    if (!o.frozen.empty()) all.push_back("model.frozen_dtype=" + o.frozen);
    if (o.steps > 0) all.push_back(fmt::format("train.steps={}", o.steps));
    return all;
}

/// A model that has neither file nor name is said before there is a folder, with the ways to give it one.
void expect_models(const Preset& preset) {
    if (preset.model.random_weights) return;  // known sizes, which need no file
    for (const auto& [key, name] :
         {std::pair("whisper", &preset.model.whisper), {"wavlm", &preset.model.wavlm}, {"llm", &preset.model.llm}}) {
        if (name->empty() && name == &preset.model.wavlm) continue;
        try {
            find_model(*name);
        } catch (const UsageError& problem) {
            throw UsageError(
                "train: model.{0} of preset \"{1}\": {2}; name your own with --set model.{0}=FILE-OR-FOLDER, or draw "
                "models of the preset's sizes at random with --random-weights",
                key, printable(preset.name), problem.what());
        }
    }
}

int train(const Options& o) {
    const std::filesystem::path home = home_folder();
    RunFolder run = [&] {
        if (o.resume) {
            if (o.out.empty()) throw UsageError("--resume needs --out, the folder of the run");
            for (const auto& [flag, given] : {std::pair("--set", !o.set.empty()),
                                              {"--steps", o.steps > 0},
                                              {"--frozen", !o.frozen.empty()},
                                              {"--random-weights", o.random_weights},
                                              {"--compat", !o.compat.empty()},
                                              {"--plain", o.plain},
                                              {"--preset", o.preset_given}})
                if (given)
                    throw UsageError("{} cannot change a run that is resumed; its preset stands in {}", flag,
                                     (std::filesystem::path(o.out) / "config.json").string());
            return RunFolder::open(o.out);
        }
        std::vector<std::string> values;
        if (!o.compat.empty()) {
            for (const auto& group : {compat_model(o.compat), compat_decoding(o.compat)})
                values.insert(values.end(), group.begin(), group.end());
        }
        for (std::string& value : overrides(o)) values.push_back(std::move(value));
        Preset preset = load_preset(preset_path(o.preset, home), values);
        if (o.plain) preset = plain_recipe(preset);
        for (const Manifests* m : {&preset.data.train, &preset.data.valid}) expect_manifests(*m, home);
        expect_models(preset);
        check_start(preset, home);  // before there is a folder
        return RunFolder::create(o.out.empty() ? "runs/" + preset.name : o.out, preset);
    }();
    const Stopwatch loading;
    System system = load_system(run.preset());
    const Preset& preset = run.preset();
    const double load_seconds = loading.seconds();
    if (preset.model.random_weights) std::fputs(parameter_summary(system).c_str(), stdout);
    if (!preset.train.from.empty()) {
        Parameters parameters = system.model->parameters();
        if (start_from_adapter(start_file(preset.train.from, home), parameters))
            std::fprintf(stderr, "%s has no prompt adapter; a new one begins with r = alpha / rank\n",
                         preset.train.from.c_str());
    }
    // nobody needs the features of a random encoder twice
    const auto cache = feature_cache(system, o.no_cache || preset.model.random_weights);
    if (preset.data.train.empty()) throw UsageError("train: the preset names no data.train; --set data.train=FILE");
    const Stopwatch encoding;
    const auto train_sets = load_sets(system, cache.get(), preset.data.train, home, "training clips");
    const auto valid_sets = load_sets(system, cache.get(), preset.data.valid, home, "validation clips");
    const double encode_seconds = encoding.seconds();
    const TrainReport report = train_run(system, train_sets, valid_sets, run);
    if (report.stopped) {
        std::printf("stopped after step %ld; go on with: wavllm train --resume --out %s\n", report.steps_done,
                    run.path().c_str());
        return 130;
    }
    if (preset.model.random_weights)
        std::printf("weights drawn and packed in %.1f s, audio encoded in %.1f s\n%s", load_seconds, encode_seconds,
                    resources_of(run.path()).c_str());
    const std::string validation = summary(report.validations);
    std::printf("trained %ld steps%s%s\nadapter: %s\nreport:  %s\n", report.steps_done,
                validation.empty() ? "" : "; validation: ", validation.c_str(), run.adapter_file().c_str(),
                (run.path() / "report.html").c_str());
    return 0;
}

}  // namespace

WAVLLM_COMMAND(
    train, {"train", "train a WavLLM adapter and LoRA on a manifest of recordings",
            "wavllm train --preset small-digits --out runs/digits --set train.steps=100", [](cli::App& app) {
                auto o = std::make_shared<Options>();
                const cli::Option* preset =
                    app.add_option("--preset", o->preset, "name in presets/, or a JSON file")->capture_default_str();
                app.add_option("--set", o->set, "override a value: lora.rank=16 (may be given again)");
                app.add_option("--compat", o->compat,
                               "released: the values in which the released code differs from the paper (inspect "
                               "RUN/config.json); --set goes over them");
                app.add_option("--steps", o->steps, "short for --set train.steps=N")->positive();
                add_frozen(app, o->frozen);
                app.add_flag("--random-weights", o->random_weights,
                             "models of the preset's sizes, drawn at random: what full size costs (--preset 7b)");
                app.add_option("--out", o->out, "folder of the run (default: runs/NAME-OF-PRESET)");
                app.add_flag("--plain", o->plain,
                             "the paper's recipe alone: one stage of cross-entropy, no CTC, masks or output norm");
                app.add_flag("--resume", o->resume, "go on where the run's newest checkpoint stands");
                add_no_cache(app, o->no_cache);
                return [o, preset] {
                    o->preset_given = preset->given();
                    return train(*o);
                };
            }});

}  // namespace wavllm
