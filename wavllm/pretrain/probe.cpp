// wavllm pretrain probe: does a linear classifier tell speakers better by an encoder's features than by log-mel energies?

#include "train/pretrain/probe.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "data/audio.h"
#include "data/progress.h"
#include "kernels/common/check.h"
#include "kernels/log_mel/log_mel.h"
#include "train/pretrain/wavlm.h"
#include "wavllm/command.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/table.h"

namespace wavllm {

namespace {

constexpr int64_t kMels = 80;
constexpr double kMostSeconds = 3600;  // of a piece

struct Options {
    std::string model, json;
    std::vector<std::string> manifests, altered;
    std::string pool = "mean";
    double seconds = 1;
    int64_t least = 4;
    uint64_t seed = 1;
};

/// One kind of features: rows to train on, rows to test with.
struct Kind {
    std::string name;
    bool trained;  ///< of the encoder that is asked about: one of these is chosen
    ProbeSet train, test;
};

/// The mean of each column, and after them the standard deviations if they are wanted.
std::vector<float> pooled(const Tensor& x, bool deviations) {
    const auto width = static_cast<size_t>(x.dim(1));
    const auto n = static_cast<double>(x.dim(0));
    std::vector<double> sums(width), squares(width);
    const float* p = x.data<float>();
    for (int64_t t = 0; t < x.dim(0); ++t)
        for (double& sum : sums) sum += *p++;
    std::vector<float> row;
    for (double& sum : sums) row.push_back(static_cast<float>(sum /= n));
    if (!deviations) return row;
    p = x.data<float>();
    for (int64_t t = 0; t < x.dim(0); ++t)
        for (size_t i = 0; i < width; ++i) squares[i] += std::pow(*p++ - sums[i], 2);
    for (const double square : squares) row.push_back(static_cast<float>(std::sqrt(square / n)));
    return row;
}

class Features {
public:
    Features(const WavlmEncoder* encoder, const WavlmEncoder& untrained, bool deviations)
        : encoders_{encoder, &untrained}, deviations_(deviations), filters_(kernels::make_mel_filters(kMels)) {
        const int64_t times = deviations ? 2 : 1;
        kinds_.push_back({"log-mel", false, {.dim = times * kMels}, {.dim = times * kMels}});
        for (const WavlmEncoder* e : encoders_) {
            const bool trained = e == encoder;
            const std::string name = trained ? "WavLM" : "the same untrained";
            const int64_t dim = times * e->config().dim, all = dim * (e->config().layers + 1);
            for (int64_t i = 0; i <= e->config().layers; ++i)
                kinds_.push_back({fmt::format("{}, layer {}", name, i), trained, {.dim = dim}, {.dim = dim}});
            side_by_side_ = all <= kProbeMostFeatures;
            if (side_by_side_)
                kinds_.push_back({name + ", all layers side by side", trained, {.dim = all}, {.dim = all}});
            else if (trained)
                fmt::print(stderr,
                           "all layers side by side are left out: {} features, more than the {} that are fitted\n", all,
                           kProbeMostFeatures);
        }
    }

    void add(std::span<const float> samples, int32_t label, int32_t clip, bool test) {
        const auto n = static_cast<int64_t>(samples.size());
        const Tensor x = Tensor::from(samples, {n});
        size_t at = 0;
        const auto keep = [&](const std::vector<float>& row) {
            Kind& k = kinds_[at++];
            (test ? k.test : k.train).add(row.data(), label, clip);
        };
        keep(pooled(kernels::log_mel(x, filters_, n / kernels::kMelHop), deviations_));
        for (const WavlmEncoder* e : encoders_) {
            const Tensor hidden = hidden_states(*e, samples).to(Device::cpu);
            std::vector<float> all;
            for (int64_t i = 0; i < hidden.dim(0); ++i) {
                const std::vector<float> row = pooled(hidden.select(0, i).to_contiguous(), deviations_);
                keep(row);
                all.insert(all.end(), row.begin(), row.end());
            }
            if (side_by_side_) keep(all);
        }
    }
    const std::vector<Kind>& kinds() const {
        return kinds_;
    }

private:
    std::vector<const WavlmEncoder*> encoders_;
    bool deviations_, side_by_side_ = true;
    Tensor filters_;
    std::vector<Kind> kinds_;
};

/// Speakers with so many clips of a piece or more.
std::map<std::string, std::vector<PretrainClip>> enough_clips(const Options& o, size_t piece) {
    std::map<std::string, std::vector<PretrainClip>> speakers;
    for (PretrainClip& c : load_pretrain_clips(o.manifests, 1))
        if (!c.speaker.empty() && c.samples.size() >= piece) speakers[c.speaker].push_back(std::move(c));
    std::erase_if(speakers, [&](const auto& s) { return static_cast<int64_t>(s.second.size()) < o.least; });
    if (speakers.size() < 2)
        throw UsageError(
            "pretrain probe: {} speakers have {} clips of {} s or more; a probe needs two (--least, --seconds)",
            speakers.size(), o.least, o.seconds);
    return speakers;
}

int run(const Options& o) {
    if (!(o.seconds > 0 && o.seconds <= kMostSeconds))  // neither holds for NaN
        throw UsageError("pretrain probe: --seconds {} is out of range (up to {})", o.seconds, kMostSeconds);
    const WavlmEncoder encoder = load_wavlm(o.model);
    const WavlmEncoder untrained = WavlmEncoder(encoder.config(), o.seed).frozen();
    const auto piece = static_cast<size_t>(o.seconds * kSampleRate);
    if (static_cast<int64_t>(piece) < encoder.config().window())
        throw UsageError("pretrain probe: --seconds {} is shorter than a frame", o.seconds);
    Features features(&encoder, untrained, o.pool == "mean+std");
    const auto speakers = enough_clips(o, piece);
    const auto add = [&](const PretrainClip& clip, int32_t label, int32_t number, bool test) {
        const std::span<const float> samples = clip.samples;
        for (size_t at = 0; at + piece <= samples.size(); at += piece)
            features.add(samples.subspan(at, piece), label, number, test);
    };
    int64_t total = 0, done = 0;
    for (const auto& [name, clips] : speakers) total += static_cast<int64_t>(clips.size());
    Progress bar("encode", total, "clips");
    int32_t label = 0;
    std::map<std::string, int32_t> held_out;
    for (const auto& [name, clips] : speakers) {
        // every second clip of a speaker tests: what is heard in the one is not said in the other
        for (size_t i = 0; i < clips.size(); ++i) {
            bar.update(done++, name);
            if (i % 2 == 1) held_out.emplace(clips[i].id, label);
            if (i % 2 == 0 || o.altered.empty()) add(clips[i], label, static_cast<int32_t>(i / 2), i % 2 == 1);
        }
        ++label;
    }
    if (!o.altered.empty())
        for (const PretrainClip& c : load_pretrain_clips(o.altered, 1))  // shorter than a piece: none of it
            if (const auto it = held_out.find(c.id.substr(0, c.id.rfind("-a"))); it != held_out.end())
                add(c, it->second, 0, true);
    bar.finish();
    if (features.kinds().front().test.size() == 0)
        throw UsageError("pretrain probe: {} has no altered copy (ID-a1) of a clip that is held out of --manifest",
                         fmt::join(o.altered, ", "));
    const Kind& any = features.kinds().front();
    nlohmann::ordered_json json = {{"speakers", label},       {"seconds", o.seconds},
                                   {"pool", o.pool},          {"train", any.train.size()},
                                   {"test", any.test.size()}, {"features", nlohmann::ordered_json::array()}};
    Table table({"features", "dim", "train %", "folds %", "test %", "penalty"}, {true});
    Progress fitting("fit", static_cast<int64_t>(features.kinds().size()), "probes");
    ProbeResult log_mel, best;
    size_t chosen = 0;
    for (const Kind& k : features.kinds()) {
        const size_t i = json["features"].size();
        const ProbeResult r = linear_probe(k.train, k.test, label);
        if (i == 0) log_mel = r;
        // which layer is chosen by the training clips; those that test have no part in it
        if (k.trained && (chosen == 0 || r.fold_accuracy > best.fold_accuracy)) {
            chosen = i;
            best = r;
        }
        table.add({k.name, std::to_string(k.train.dim), fmt::format("{:.1f}", 100 * r.train_accuracy),
                   fmt::format("{:.1f}", 100 * r.fold_accuracy), fmt::format("{:.1f}", 100 * r.test_accuracy),
                   fmt::format("{:g}", r.penalty)});
        json["features"].push_back({{"name", k.name},
                                    {"dim", k.train.dim},
                                    {"train_accuracy", r.train_accuracy},
                                    {"fold_accuracy", r.fold_accuracy},
                                    {"test_accuracy", r.test_accuracy},
                                    {"penalty", r.penalty}});
        fitting.update(static_cast<int64_t>(json["features"].size()), k.name);
    }
    fitting.finish();
    json["chosen"] = features.kinds()[chosen].name;
    if (!o.json.empty()) write_json(json, o.json);
    if (o.json == "-") return 0;
    fmt::print("{} speakers; pieces of {} s: {} to train on, {} of other clips to test with\n", label, o.seconds,
               any.train.size(), any.test.size());
    table.print();
    fmt::print("chosen by the training clips' folds: {}: {:.1f} % of the test, log-mel {:.1f} %\n",
               features.kinds()[chosen].name, 100 * best.test_accuracy, 100 * log_mel.test_accuracy);
    return 0;
}

WAVLLM_PART(
    pretrain, probe,
    {"probe",
     "who speaks? A linear classifier on an encoder's mean features, on log-mel means, and on the encoder untrained",
     "wavllm pretrain probe --model runs/wavlm --manifest samples/speech_test.tsv", [](cli::App& app) {
         auto o = std::make_shared<Options>();
         app.add_option("--model", o->model, "folder of a run, or of a WavLM of Hugging Face's")->required();
         app.add_option("--manifest", o->manifests, "recordings with a column speaker (may be given again)")
             ->required();
         app.add_option("--altered", o->altered,
                        "test with these copies of the clips that are held out: wavllm data augment's, in other rooms, "
                        "with noise, at other levels (may be given again)");
         app.add_option("--seconds", o->seconds, "pieces that clips are cut into")->capture_default_str()->positive();
         app.add_option("--pool", o->pool, "of a piece's frames: mean or mean+std")
             ->capture_default_str()
             ->one_of({"mean", "mean+std"});
         app.add_option("--least", o->least, "clips that a speaker needs, three or more")
             ->capture_default_str()
             ->range(3, 1000000);  // two that train: with one, no fold is held back
         app.add_option("--seed", o->seed, "of the untrained encoder")->capture_default_str();
         app.add_option("--json", o->json, "write the result as JSON (-: to stdout)");
         return [o] { return run(*o); };
     }});

}  // namespace

}  // namespace wavllm
