#include "data/synth/synth.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "data/audio.h"
#include "data/manifest_writer.h"
#include "data/progress.h"
#include "data/synth/clip_plan.h"
#include "data/synth/clip_store.h"
#include "data/synth/engines.h"
#include "tensor/error.h"

namespace wavllm {

namespace {

void check(const SynthOptions& o) {
    if (o.out.empty()) throw UsageError("--out is missing: name the folder for audio and manifests");
    if (o.hours < 0 || o.clips < 0 || o.digits < 0) throw UsageError("a negative amount of speech was asked for");
    if (o.hours > 0 && o.clips > 0) throw UsageError("--hours and --clips were both given; choose one");
    const bool speech = o.hours > 0 || o.clips > 0;
    if (!speech && o.digits == 0) throw UsageError("nothing to make: give --hours, --clips or --digits");
    if (speech && o.text.empty()) throw UsageError("--text is missing: name a file with sentences, one a line");
    if (!(o.min_seconds >= 0.3 && o.max_seconds <= 120 && o.min_seconds < o.max_seconds))
        throw UsageError("clips from {} to {} s are asked for; expected 0.3 <= min < max <= 120", o.min_seconds,
                         o.max_seconds);
    const std::pair<const char*, double> shares[] = {{"--noise", o.effects.noise},
                                                     {"--room", o.effects.room},
                                                     {"--band", o.effects.band},
                                                     {"--quiet", o.effects.quiet},
                                                     {"--flite-share", o.flite_share}};
    for (const auto& [name, share] : shares)
        if (!(share >= 0 && share <= 1)) throw UsageError("{} is {}; expected a share from 0 to 1", name, share);
    if (!(o.slowest >= 0.4 && o.slowest <= o.fastest && o.fastest <= 2))
        throw UsageError("tempos from {} to {} are asked for; expected 0.4 <= --slowest <= --fastest <= 2", o.slowest,
                         o.fastest);
    if (!(o.valid_share >= 0 && o.valid_share <= 0.5))
        throw UsageError("--valid-share is {}; expected 0 to 0.5", o.valid_share);
}

/// The voices of validation: all that come from one of flite's voices, and every tenth of espeak's.
std::vector<Voice> take_valid_voices(std::vector<Voice>& voices, uint64_t seed) {
    const Philox random(seed, "synth.valid.voices", 0);
    std::vector<std::string_view> sources;
    for (const Voice& v : voices)
        if (v.engine == SpeechEngine::flite && std::find(sources.begin(), sources.end(), v.source) == sources.end())
            sources.push_back(v.source);
    const std::string_view own = sources.empty() ? "" : sources[random.bits(0) % sources.size()];
    std::vector<Voice> valid, train;
    size_t espeak = 1 + random.bits(1) % 10;
    for (const Voice& v : voices) {
        const bool is_valid = v.engine == SpeechEngine::flite ? v.source == own : espeak++ % 10 == 0;
        (is_valid ? valid : train).push_back(v);
    }
    if (valid.empty() || train.empty())
        throw UsageError(
            "--valid-share needs voices of its own, and {} voices cannot be parted; name more with --voices",
            voices.size());
    voices = train;
    return valid;
}

ManifestRow manifest_row(const ClipPlan& p, const StoredClip& clip) {
    ManifestRow row;
    row.id = "synth-" + clip.name;
    row.audio = clip.file;
    row.n_frames = clip.frames;
    row.prompt = p.digit ? kDigitPrompt : kTranscriptionPrompt;
    row.tgt_text = transcript(p.text.words);
    row.task = p.digit ? "digits" : "asr";
    row.speaker = p.voice.name;
    row.extra["licence"] = "as its text";
    row.extra["source"] = p.text.source.empty() ? "synth" : "synth/" + p.text.source;
    row.extra["voice"] =
        fmt::format("{} tempo {:.3f} pitch {:.3f} size {:.3f}", p.voice.name, p.tempo, p.pitch, p.size);
    return row;
}

/// The rows of one set, with what the report says about them.
class Rows {
public:
    explicit Rows(std::filesystem::path manifest) {
        set_.manifest = std::move(manifest);
    }
    void add(const std::vector<ClipPlan>& plans, const std::vector<StoredClip>& clips) {
        for (size_t i = 0; i < clips.size(); ++i) {
            set_.made += clips[i].made;
            set_.dropped += clips[i].frames == 0;
            if (clips[i].frames == 0) continue;
            rows_.push_back(manifest_row(plans[i], clips[i]));
            for (const SpokenWord& w : plans[i].text.words) types_.insert(w.text);
            voices_.insert(plans[i].voice.name);
            set_.words += static_cast<int64_t>(plans[i].text.words.size());
            const double seconds = static_cast<double>(clips[i].frames) / kSampleRate;
            set_.hours += seconds / 3600;
            short_ += seconds < 8;
        }
    }
    SynthReport::Set write() {
        write_manifest(set_.manifest, rows_);
        set_.clips = static_cast<int64_t>(rows_.size());
        set_.word_types = static_cast<int64_t>(types_.size());
        set_.voices = static_cast<int64_t>(voices_.size());
        set_.below_8s = rows_.empty() ? 0 : static_cast<double>(short_) / static_cast<double>(rows_.size());
        return set_;
    }

private:
    SynthReport::Set set_;
    std::vector<ManifestRow> rows_;
    std::set<std::string> types_;
    std::set<std::string_view> voices_;
    int64_t short_ = 0;
};

struct Amount {
    double hours = 0;
    int64_t clips = 0;
};

class Synthesis {
public:
    explicit Synthesis(const SynthOptions& o) : o_(o), voices_(find_voices(o.voices)) {
        for (const auto& manifest : o.exclude)
            for (const ManifestRow& row : read_manifest(manifest)) excluded_.add(row.tgt_text);
        if (o.hours > 0 || o.clips > 0) {
            sentences_ = read_sentences(o.text, excluded_);
            weights_ = source_weights(sentences_, o.sources);
        }
        load_engines();
    }

    SynthReport run() {
        SynthReport report;
        std::filesystem::create_directories(o_.out);
        WordRuns avoid = excluded_;
        if (o_.valid_share > 0) {
            const std::vector<Voice> voices = take_valid_voices(voices_, o_.seed);
            Rows rows(o_.out / "valid.tsv");
            std::vector<ClipPlan> plans;
            const Amount amount{o_.hours * o_.valid_share,
                                std::llround(static_cast<double>(o_.clips) * o_.valid_share)};
            speak_set("validation", options("synth.valid", voices), amount, avoid, plans, rows);
            for (const ClipPlan& p : plans) avoid.add(transcript(p.text.words));
            report.sets.push_back(rows.write());
        }
        Rows rows(o_.out / "train.tsv");
        std::vector<ClipPlan> plans;
        const PlanOptions train = options("synth.train", voices_);
        if (!sentences_.sentences.empty())
            report.passes = speak_set("speech", train, {o_.hours, o_.clips}, avoid, plans, rows);
        if (o_.digits > 0) {
            plans.clear();
            const auto clips = make("digits", {0, o_.digits}, plans, [&](uint32_t i) { return plan_digit(train, i); });
            rows.add(plans, clips);
        }
        report.sets.push_back(rows.write());
        report.read = sentences_.read;
        report.unreadable = sentences_.unreadable;
        report.repeated = sentences_.repeated;
        report.excluded = sentences_.excluded;
        return report;
    }

private:
    PlanOptions options(const char* purpose, const std::vector<Voice>& voices) const {
        return {o_.seed,        purpose,    voices,     o_.flite_share, o_.min_seconds,
                o_.max_seconds, o_.effects, o_.slowest, o_.fastest};
    }

    /// Returns how often all sentences were used up.
    int speak_set(const char* title, const PlanOptions& options, Amount amount, const WordRuns& avoid,
                  std::vector<ClipPlan>& plans, Rows& rows) {
        ClipTexts texts(sentences_, weights_, o_.seed, o_.max_seconds / 1.1);
        const auto clips =
            make(title, amount, plans, [&](uint32_t i) { return plan_speech(options, i, texts, avoid); });
        rows.add(plans, clips);
        return texts.passes();
    }

    template <class Plan>
    std::vector<StoredClip> make(const char* title, Amount amount, std::vector<ClipPlan>& plans, Plan&& plan) {
        const double wanted = amount.hours * 3600;
        Progress bar(title, wanted > 0 ? std::llround(wanted) : amount.clips, wanted > 0 ? "s of speech" : "clips");
        std::vector<StoredClip> clips =
            make_clips({.folder = o_.out,
                        .jobs = o_.jobs,
                        .key = [&](int64_t i) { return plans.emplace_back(plan(static_cast<uint32_t>(i))).key(); },
                        .expected_seconds = [&](int64_t i) { return plans[static_cast<size_t>(i)].expected_seconds(); },
                        .samples = [&](int64_t i) { return make_clip(plans[static_cast<size_t>(i)]); },
                        .enough = [&](int64_t n, double s) { return wanted > 0 ? s >= wanted : n >= amount.clips; },
                        .progress =
                            [&](int64_t n, double s, int64_t old_n, double old_s) {
                                bar.resume_at(wanted > 0 ? std::llround(old_s) : old_n);
                                bar.update(wanted > 0 ? std::llround(s) : n);
                            }});
        bar.finish();
        plans.resize(clips.size());
        return clips;
    }

    const SynthOptions& o_;
    std::vector<Voice> voices_;
    WordRuns excluded_;
    Sentences sentences_;
    std::vector<double> weights_;  // of its sources
};

}  // namespace

SynthReport synthesize(const SynthOptions& options) {
    check(options);
    const auto begin = std::chrono::steady_clock::now();
    SynthReport report = Synthesis(options).run();
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return report;
}

}  // namespace wavllm
