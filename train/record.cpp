#include "train/record.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "data/base64.h"
#include "infer/attention_map.h"
#include "tensor/allocator.h"
#include "tensor/atomic_file.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr size_t kAttentionClips = 4;
constexpr double kAttentionSeconds = 10;  // longer clips make maps that nobody can read
constexpr int64_t kSharpHeads = 6;

/// Answers are bytes of a model: whatever is no UTF-8 becomes U+FFFD.
std::string line_of(const ordered_json& json) {
    return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

std::string answer_lines(const AnsweredSet& set) {
    std::string lines;
    for (size_t i = 0; i < set.clips.size(); ++i) {
        ordered_json line = {{"set", set.name}, {"id", set.clips[i]->id}, {"reference", set.clips[i]->reference}};
        if (set.llm) line["llm"] = set.llm->answers[i].text;
        if (set.ctc) line["ctc"] = set.ctc->answers[i].text;
        if (set.joint) line["joint"] = set.joint->answers[i].text;
        lines += line_of(line);
    }
    return lines;
}

/// A map as bytes, 255 the strongest.
ordered_json map_json(const std::string& name, const std::vector<float>& weights) {
    const float most = std::max(1e-12f, *std::max_element(weights.begin(), weights.end()));
    std::string bytes;
    for (float w : weights) bytes += static_cast<char>(std::lround(255 * w / most));
    return {{"name", name}, {"most", most}, {"data", base64(bytes)}};
}

struct Candidate {
    const AnsweredSet* set;
    size_t clip;
};

/// The clips with the most words among those that are short enough: the same at every validation.
std::vector<Candidate> attention_clips(std::span<const AnsweredSet> sets) {
    std::vector<std::pair<int64_t, Candidate>> found;
    for (const AnsweredSet& s : sets)
        for (size_t i = 0; s.llm && i < s.clips.size(); ++i) {
            const SpeechExample& e = *s.clips[i];
            if (e.feature_rows() == 0 || e.seconds > kAttentionSeconds || s.llm->answers[i].tokens.empty()) continue;
            found.push_back({-std::count(e.reference.begin(), e.reference.end(), ' '), {&s, i}});
        }
    std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<Candidate> best;
    for (size_t i = 0; i < std::min(found.size(), kAttentionClips); ++i) best.push_back(found[i].second);
    return best;
}

ordered_json attention_json(const Wavllm& model, const Tokenizer& tokenizer, const AnsweredSet& set, size_t clip) {
    const SpeechExample& e = *set.clips[clip];
    const Answer& answer = set.llm->answers[clip];
    const AttentionMap map = attention_map(model, e, answer.tokens);
    ordered_json json = {{"set", set.name},
                         {"id", e.id},
                         {"seconds_per_frame", 4 * 0.02},  // two convolutions of stride 2 on 20 ms
                         {"frames", map.frames},
                         {"tokens", ordered_json::array()},
                         {"maps", ordered_json::array()},
                         {"ctc", ordered_json::array()}};
    for (int32_t token : answer.tokens) json["tokens"].push_back(valid_utf8(tokenizer.decode(std::span(&token, 1))));
    json["maps"].push_back(
        map_json(fmt::format("the {} heads that point most sharply", kSharpHeads), map.sharpest_mean(kSharpHeads)));
    for (int64_t l = 0; l < map.layers; ++l)
        json["maps"].push_back(map_json(fmt::format("layer {}, mean of its heads", l), map.layer_mean(l)));
    if (set.ctc)
        for (const auto& [token, row] :
             align_to_ctc(answer.tokens, set.ctc->answers[clip].tokens, set.ctc->answers[clip].rows))
            json["ctc"].push_back({token, row});
    return json;
}

}  // namespace

void record_clips(const RunFolder& run, std::span<const AnsweredSet> sets) {
    std::string lines;
    for (const AnsweredSet& s : sets)
        for (const SpeechExample* e : s.clips) {
            ordered_json line = {{"set", s.name},         {"id", e->id},     {"seconds", e->seconds},
                                 {"speaker", e->speaker}, {"task", e->task}, {"reference", e->reference}};
            if (!e->audio.empty()) line["audio"] = e->audio.string();
            if (e->span.start != 0) line["start"] = e->span.start;
            if (e->span.end != AudioSpan::kToEnd) line["end"] = e->span.end;
            lines += line_of(line);
        }
    write_file_atomically(run.path() / "clips.jsonl", lines);
}

void record_validation(const RunFolder& run, int64_t steps_done, std::span<const AnsweredSet> sets) {
    std::string lines;
    for (const AnsweredSet& s : sets) lines += answer_lines(s);
    fs::create_directories(run.path() / "validations");
    write_file_atomically(run.path() / "validations" / fmt::format("step-{:06}.jsonl", steps_done), lines);
}

void record_evaluation(const RunFolder& run, const AnsweredSet& set) {
    fs::create_directories(run.path() / "evaluations");
    using Head = const Evaluation* AnsweredSet::*;
    for (const auto& [head, of] : {std::pair<const char*, Head>{"llm", &AnsweredSet::llm},
                                   {"ctc", &AnsweredSet::ctc},
                                   {"joint", &AnsweredSet::joint}}) {
        if (!(set.*of)) continue;
        AnsweredSet one{set.name, set.clips};
        one.*of = set.*of;
        write_file_atomically(run.path() / "evaluations" / fmt::format("{}-{}.jsonl", set.name, head),
                              answer_lines(one));
    }
}

void record_attention(const RunFolder& run, int64_t steps_done, const Wavllm& model, const Tokenizer& tokenizer,
                      std::span<const AnsweredSet> sets) {
    ordered_json json = {{"step", steps_done}, {"clips", ordered_json::array()}};
    for (const Candidate& c : attention_clips(sets))
        json["clips"].push_back(attention_json(model, tokenizer, *c.set, c.clip));
    if (!json["clips"].empty()) write_file_atomically(run.path() / "attention.json", line_of(json));
}

void record_profile(RunFolder& run, int64_t steps_done, const std::string& stage, int64_t steps, const OpClock& clock,
                    Device device) {
    ordered_json ops = ordered_json::array();
    for (const OpClock::Entry& e : clock.entries())
        ops.push_back(
            {{"op", e.op}, {"forward", e.forward}, {"backward", e.backward}, {"other", e.other}, {"calls", e.calls}});
    if (steps > 0)
        run.log_timing({{"step", steps_done - 1}, {"profile", {{"stage", stage}, {"steps", steps}, {"ops", ops}}}});
    ordered_json purposes = ordered_json::array();
    for (size_t i = 0; i < kPurposes; ++i) {
        const Account a = memory::account(static_cast<Purpose>(i), device);
        purposes.push_back({{"purpose", name(static_cast<Purpose>(i))}, {"bytes", a.bytes}, {"peak", a.peak}});
    }
    ordered_json account = {{"device", name(device)}, {"total_peak", memory::total(device).peak}};
    if (device == Device::cpu) account["reserved"] = memory::reserved();  // the only one whose allocator says
    account["purposes"] = std::move(purposes);
    run.log_timing({{"step", steps_done - 1}, {"memory", std::move(account)}});
}

std::map<int64_t, fs::path> recorded_validations(const fs::path& run) {
    std::map<int64_t, fs::path> found;
    if (!fs::exists(run / "validations")) return found;
    for (const auto& entry : fs::directory_iterator(run / "validations")) {
        const std::string file = entry.path().filename().string();
        int64_t step = 0;
        char tail[8] = {};
        if (std::sscanf(file.c_str(), "step-%ld.json%1[l]", &step, tail) == 2 && file.ends_with(".jsonl"))
            found[step] = entry.path();
    }
    return found;
}

void cut_validations(const RunFolder& run, int64_t steps_done) {
    for (const auto& [step, file] : recorded_validations(run.path()))
        if (step > steps_done) fs::remove(file);
}

}  // namespace wavllm
