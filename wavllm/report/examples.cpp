// A few clips to listen to, with what each head understood.

#include <cmath>

#include "data/audio.h"
#include "data/base64.h"
#include "data/flac.h"
#include "infer/english_normalizer.h"
#include "infer/wer.h"
#include "tensor/error.h"
#include "wavllm/report/sections.h"

namespace wavllm {

namespace {

constexpr size_t kBest = 2, kMedian = 3, kWorst = 3;
constexpr size_t kMostHistory = 8;
constexpr size_t kAudioBytes = 5 << 20;  // of all recordings together, so that the page stays below 8 MB

/// Recordings as data: URIs, as long as they fit into the page.
class Recordings {
public:
    explicit Recordings(const RunFiles& run) : run_(run) {}

    /// Adds "seconds", "speaker" and "audio", or "audio_missing" with the reason.
    void add_to(Json& clip) {
        const std::string set = clip["set"], id = clip["id"];
        const auto it = run_.clips.find({set, id});
        if (it == run_.clips.end()) return void(clip["audio_missing"] = "recording not known");
        const Json& info = it->second;
        clip["seconds"] = info.value("seconds", 0.0);
        clip["speaker"] = info.value("speaker", "");
        const std::string path = info.value("audio", "");
        if (path.empty()) return void(clip["audio_missing"] = "no recording");
        try {
            const std::string flac = encode(path, info);
            if (bytes_ + flac.size() > kAudioBytes)
                return void(clip["audio_missing"] = "recording left out: the page would be too large");
            bytes_ += flac.size();
            clip["audio"] = "data:audio/flac;base64," + base64(flac);
        } catch (const Error&) {
            clip["audio_missing"] = "recording not found";
        }
    }

private:
    /// 12 bits a sample, at most full scale: half the bytes of 16, and no difference to hear on a wall.
    static std::string encode(const std::string& path, const Json& info) {
        const AudioSpan span{info.value("start", int64_t{0}), info.value("end", AudioSpan::kToEnd)};
        std::vector<float> samples = read_audio(path, kSampleRate, span);
        float most = 1e-6f;
        for (float s : samples) most = std::max(most, std::abs(s));
        const float gain = std::min(8.0f, 0.9f / most);
        for (float& s : samples) s = std::round(s * gain * 2048) / 2048;
        return encode_flac16(samples, kSampleRate);
    }

    const RunFiles& run_;
    size_t bytes_ = 0;
};

/// Word by word, as it is scored: [kind, reference, hypothesis].
Json aligned(const std::string& reference, const std::string& answer) {
    Json words = Json::array();
    for (const AlignedWord& w : align_words(normalize_english(reference), normalize_english(answer))) {
        static constexpr const char* kKinds[] = {"m", "s", "d", "i"};
        words.push_back({kKinds[static_cast<size_t>(w.edit)], w.reference, w.hypothesis});
    }
    return words;
}

double wer(const std::string& reference, const std::string& answer) {
    return word_errors(normalize_english(reference), normalize_english(answer)).rate();
}

Json number(double x) {
    return std::isfinite(x) ? Json(x) : Json();
}

Json answer_json(const std::string& reference, const std::optional<std::string>& answer) {
    if (!answer) return Json();
    const std::string r = normalize_english(reference), a = normalize_english(*answer);
    return {{"wer", number(word_errors(r, a).rate())},
            {"cer", number(character_errors(r, a).rate())},
            {"words", aligned(reference, *answer)}};
}

/// Steps of the validations to show a clip's history of: the last ones count least, so they are spread evenly.
std::vector<int64_t> history_steps(const RunFiles& run) {
    std::vector<int64_t> all, some;
    all.reserve(run.validations.size());
    for (const auto& [step, clips] : run.validations) all.push_back(step);
    if (all.size() <= kMostHistory) return all;
    for (size_t i = 0; i < kMostHistory; ++i) some.push_back(all[i * (all.size() - 1) / (kMostHistory - 1)]);
    return some;
}

Json history(const RunFiles& run, const std::vector<int64_t>& steps, const AnsweredClip& clip) {
    Json list = Json::array();
    for (int64_t step : steps)
        for (const AnsweredClip& c : run.validations.at(step))
            if (c.set == clip.set && c.id == clip.id && c.answered())
                list.push_back(
                    {{"step", step}, {"head", c.llm ? "llm" : "ctc"}, {"words", aligned(c.reference, c.best())}});
    return list;
}

/// Clips of one set from best to worst; of equal ones the longer text first among the best, which says more.
std::vector<const AnsweredClip*> ranked(const std::vector<AnsweredClip>& clips, const std::string& set) {
    std::vector<std::pair<std::pair<double, int64_t>, const AnsweredClip*>> scored;
    for (const AnsweredClip& c : clips)
        if (c.set == set && c.answered())
            scored.push_back({{wer(c.reference, c.best()), -static_cast<int64_t>(c.reference.size())}, &c});
    std::stable_sort(scored.begin(), scored.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<const AnsweredClip*> result;
    result.reserve(scored.size());
    for (const auto& [score, clip] : scored) result.push_back(clip);
    return result;
}

/// Index in the ranking and name of the rank of what is shown of n clips.
std::vector<std::pair<size_t, const char*>> shown(size_t n) {
    std::vector<std::pair<size_t, const char*>> picks;
    if (n <= kBest + kMedian + kWorst) {
        for (size_t i = 0; i < n; ++i)
            picks.emplace_back(i, i < (n + 2) / 3 ? "best" : i < (2 * n + 2) / 3 ? "median" : "worst");
        return picks;
    }
    for (size_t i = 0; i < kBest; ++i) picks.emplace_back(i, "best");
    for (size_t i = 0; i < kMedian; ++i) picks.emplace_back((n - kMedian) / 2 + i, "median");
    for (size_t i = 0; i < kWorst; ++i) picks.emplace_back(n - kWorst + i, "worst");
    return picks;
}

}  // namespace

Json examples(const RunFiles& run, Json& attention) {
    Recordings recordings(run);
    if (attention.contains("clips"))
        for (Json& clip : attention["clips"]) recordings.add_to(clip);
    Json list = Json::array();
    if (run.validations.empty()) return list;
    const auto& [step, clips] = *run.validations.rbegin();
    const std::vector<int64_t> steps = history_steps(run);
    std::vector<std::string> sets;
    for (const AnsweredClip& c : clips)
        if (std::find(sets.begin(), sets.end(), c.set) == sets.end()) sets.push_back(c.set);
    for (const std::string& set : sets) {
        const auto ranking = ranked(clips, set);
        for (const auto& [index, rank] : shown(ranking.size())) {
            const AnsweredClip& c = *ranking[index];
            Json example = {{"set", set},
                            {"id", c.id},
                            {"step", step},
                            {"rank", rank},
                            {"reference", c.reference},
                            {"seconds", nullptr},
                            {"llm", answer_json(c.reference, c.llm)},
                            {"ctc", answer_json(c.reference, c.ctc)},
                            {"history", history(run, steps, c)}};
            recordings.add_to(example);
            list.push_back(std::move(example));
        }
    }
    return list;
}

}  // namespace wavllm
