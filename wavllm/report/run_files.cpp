#include "wavllm/report/run_files.h"

#include <algorithm>
#include <fstream>

#include "train/record.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;

std::vector<Json> read_lines(const fs::path& path) {
    std::vector<Json> lines;
    std::ifstream in(path, std::ios::binary);
    for (std::string line; std::getline(in, line);) {
        Json json = Json::parse(line, nullptr, false);
        if (json.is_object()) lines.push_back(std::move(json));
    }
    return lines;
}

Json read_object(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    Json json = in ? Json::parse(in, nullptr, false) : Json();
    return json.is_object() ? json : Json::object();
}

std::string text_of(const Json& line, const char* key) {
    const auto it = line.find(key);
    return it != line.end() && it->is_string() ? it->get<std::string>() : "";
}

std::vector<AnsweredClip> read_answers(const fs::path& path) {
    std::vector<AnsweredClip> clips;
    for (const Json& line : read_lines(path)) {
        AnsweredClip c{text_of(line, "set"), text_of(line, "id"), text_of(line, "reference"), {}, {}, {}};
        if (line.contains("llm")) c.llm = text_of(line, "llm");
        if (line.contains("ctc")) c.ctc = text_of(line, "ctc");
        if (line.contains("joint")) c.joint = text_of(line, "joint");
        clips.push_back(std::move(c));
    }
    return clips;
}

/// The heads' files of one set, clip by clip.
void merge(std::vector<AnsweredClip>& into, std::vector<AnsweredClip> more) {
    for (AnsweredClip& c : more) {
        const auto same = std::find_if(into.begin(), into.end(), [&](const AnsweredClip& o) { return o.id == c.id; });
        if (same == into.end()) {
            into.push_back(std::move(c));
        } else {
            if (c.llm) same->llm = c.llm;
            if (c.ctc) same->ctc = c.ctc;
            if (c.joint) same->joint = c.joint;
        }
    }
}

}  // namespace

RunFiles RunFiles::read(const fs::path& path) {
    RunFiles run{.path = path, .preset = RunFolder::open(path).preset()};
    run.metrics = read_lines(path / "metrics.jsonl");
    run.timing = read_lines(path / "timing.jsonl");
    for (Json& line : read_lines(path / "clips.jsonl")) {
        const std::pair key{text_of(line, "set"), text_of(line, "id")};
        run.clips[key] = std::move(line);  // in two lines: an assignment looks at its right side first
    }
    for (const auto& [step, file] : recorded_validations(path)) run.validations[step] = read_answers(file);
    if (fs::exists(path / "evaluations")) {
        std::vector<fs::path> files;
        for (const auto& entry : fs::directory_iterator(path / "evaluations"))
            if (entry.path().extension() == ".jsonl") files.push_back(entry.path());
        std::sort(files.begin(), files.end());
        for (const fs::path& file : files) {
            std::vector<AnsweredClip> clips = read_answers(file);
            if (clips.empty()) continue;
            std::vector<AnsweredClip>& set = run.evaluations[clips.front().set];
            merge(set, std::move(clips));
        }
    }
    run.attention = read_object(path / "attention.json");
    run.base = read_object(path / "base.json");
    return run;
}

}  // namespace wavllm
