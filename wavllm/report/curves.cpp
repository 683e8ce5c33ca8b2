// Numbers over the run.

#include <array>

#include "infer/english_normalizer.h"
#include "infer/wer.h"
#include "wavllm/report/sections.h"

namespace wavllm {

namespace {

constexpr size_t kMostPoints = 3000;  // more than a screen has, few enough for a small page
constexpr std::array kColumns{"loss",           "ce",           "ctc", "rate", "grad_norm", "grad_norm_adapter",
                              "grad_norm_lora", "grad_norm_ctc"};

/// Newest line of every step: a killed and resumed run may have logged a step twice.
std::map<int64_t, const Json*> steps_of(const RunFiles& run) {
    std::map<int64_t, const Json*> steps;
    for (const Json& line : run.metrics)
        if (line.contains("loss") && !line.contains("valid") && line.value("step", Json()).is_number_integer())
            steps[line["step"].get<int64_t>()] = &line;
    return steps;
}

Json mean(const std::vector<const Json*>& lines, const char* key) {
    double sum = 0;
    size_t n = 0;
    for (const Json* line : lines)
        if (const auto it = line->find(key); it != line->end() && it->is_number()) {
            sum += it->get<double>();
            ++n;
        }
    return n > 0 ? Json(sum / static_cast<double>(n)) : Json();
}

/// What an aggregate of several steps may share: the same stage and set.
std::string kind(const Json& line) {
    return line.value("stage", "") + '\n' + line.value("set", "");
}

Json rates(const std::vector<AnsweredClip>& clips, std::optional<std::string> AnsweredClip::*head) {
    ErrorRates r;
    int64_t exact = 0;
    for (const AnsweredClip& c : clips) {
        const auto& answer = c.*head;
        if (!answer) return Json();
        r.add(c.reference, *answer);
        exact += normalize_english(c.reference) == normalize_english(*answer);
    }
    if (clips.empty()) return Json();
    return {{"wer", r.normal_words.rate()},
            {"cer", r.normal_characters.rate()},
            {"accuracy", static_cast<double>(exact) / static_cast<double>(clips.size())}};
}

double mean_words(const std::vector<AnsweredClip>& clips) {
    int64_t words = 0;
    for (const AnsweredClip& c : clips) words += word_errors(c.reference, "").reference;
    return clips.empty() ? 0 : static_cast<double>(words) / static_cast<double>(clips.size());
}

}  // namespace

Json training_columns(const RunFiles& run) {
    const auto steps = steps_of(run);
    const size_t each = std::max<size_t>(1, (steps.size() + kMostPoints - 1) / kMostPoints);
    Json columns = {{"mean_of", each}, {"step", Json::array()}, {"set", Json::array()}};
    for (const char* key : kColumns) columns[key] = Json::array();
    std::map<std::string, std::vector<std::pair<int64_t, const Json*>>> gathered;  // by kind, until `each` are there
    std::map<int64_t, std::vector<const Json*>> points;                            // by their first step
    for (const auto& [step, line] : steps) {
        auto& group = gathered[kind(*line)];
        group.emplace_back(step, line);
        if (group.size() < each) continue;
        for (const auto& [s, l] : group) points[group.front().first].push_back(l);
        group.clear();
    }
    for (const auto& [name, group] : gathered)
        for (const auto& [s, l] : group) points[group.front().first].push_back(l);
    for (const auto& [step, lines] : points) {
        columns["step"].push_back(step);
        columns["set"].push_back(lines.front()->value("set", ""));
        for (const char* key : kColumns) columns[key].push_back(mean(lines, key));
    }
    return columns;
}

Json validation_points(const RunFiles& run) {
    std::map<std::pair<int64_t, std::string>, Json> points;
    for (const Json& line : run.metrics) {
        if (!line.value("valid", Json()).is_string() || !line.value("step", Json()).is_number_integer()) continue;
        Json point = {{"step", line["step"].get<int64_t>() + 1}, {"set", line["valid"]}};
        for (const char* key : {"loss", "wer", "cer", "accuracy", "ctc_wer", "ctc_cer", "ctc_accuracy"})
            if (line.contains(key) && line[key].is_number()) point[key] = line[key];
        const std::pair key{point["step"].get<int64_t>(), point["set"].get<std::string>()};
        points[key] = std::move(point);
    }
    Json list = Json::array();
    for (auto& [key, point] : points) list.push_back(std::move(point));
    return list;
}

Json figures(const RunFiles& run, const Json& points) {
    Json list = Json::array();
    std::map<std::string, Json> newest;
    for (const Json& p : points) newest[p["set"]] = p;
    for (const auto& [set, p] : newest) {
        std::vector<AnsweredClip> clips;
        if (const auto at = run.validations.find(p["step"].get<int64_t>()); at != run.validations.end())
            for (const AnsweredClip& c : at->second)
                if (c.set == set) clips.push_back(c);
        const auto head = [&](const std::string& prefix) -> Json {
            if (!p.contains(prefix + "wer")) return Json();
            return {{"wer", p[prefix + "wer"]}, {"cer", p[prefix + "cer"]}, {"accuracy", p[prefix + "accuracy"]}};
        };
        list.push_back({{"set", set},
                        {"kind", "validation"},
                        {"step", p["step"]},
                        {"clips", clips.size()},
                        {"mean_words", mean_words(clips)},
                        {"llm", head("")},
                        {"ctc", head("ctc_")}});
    }
    for (const auto& [set, clips] : run.evaluations)
        list.push_back({{"set", set},
                        {"kind", "test"},
                        {"clips", clips.size()},
                        {"mean_words", mean_words(clips)},
                        {"llm", rates(clips, &AnsweredClip::llm)},
                        {"ctc", rates(clips, &AnsweredClip::ctc)},
                        {"joint", rates(clips, &AnsweredClip::joint)}});
    return list;
}

Json totals(const RunFiles& run) {
    const auto steps = steps_of(run);
    double audio = 0;
    int64_t tokens = 0;
    for (const auto& [step, line] : steps) {
        audio += line->value("audio_seconds", 0.0);
        tokens += line->value("target_tokens", int64_t{0});
    }
    Json totals = {
        {"steps", steps.empty() ? 0 : steps.rbegin()->first + 1}, {"audio_seconds", audio}, {"tokens", tokens}};
    if (run.base.contains("parameters")) totals["parameters"] = run.base["parameters"];
    return totals;
}

}  // namespace wavllm
