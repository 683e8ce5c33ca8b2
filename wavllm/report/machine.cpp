// Time and memory.

#include <fmt/format.h>

#include <algorithm>

#include "wavllm/report/sections.h"

namespace wavllm {

namespace {

/// Times by op, added up over the lines of one stage.
Json profile(const RunFiles& run) {
    Json stages = Json::array();
    for (const Json& line : run.timing) {
        const auto it = line.find("profile");
        if (it == line.end() || !it->is_object() || !it->value("ops", Json()).is_array()) continue;
        const std::string name = it->value("stage", "");
        auto stage = std::find_if(stages.begin(), stages.end(), [&](const Json& s) { return s["stage"] == name; });
        if (stage == stages.end())
            stage = stages.insert(stages.end(), Json{{"stage", name}, {"steps", 0}, {"ops", Json::array()}});
        (*stage)["steps"] = (*stage)["steps"].get<int64_t>() + it->value("steps", int64_t{0});
        Json& ops = (*stage)["ops"];
        for (const Json& op : (*it)["ops"]) {
            auto sum = std::find_if(ops.begin(), ops.end(), [&](const Json& o) { return o["op"] == op["op"]; });
            if (sum == ops.end()) {
                ops.push_back(op);
                continue;
            }
            for (const char* key : {"forward", "backward", "other"})
                (*sum)[key] = (*sum)[key].get<double>() + op[key].get<double>();
            (*sum)["calls"] = (*sum)["calls"].get<int64_t>() + op["calls"].get<int64_t>();
        }
    }
    return stages;
}

}  // namespace

Json machine(const RunFiles& run) {
    Json sessions = Json::array(), memory;
    std::map<int64_t, double> steps, validations;
    for (const Json& line : run.timing) {
        if (line.contains("session")) sessions.push_back(line["session"]);
        if (line.contains("memory")) memory = line["memory"];
        if (!line.value("step", Json()).is_number_integer()) continue;
        const int64_t step = line["step"];
        if (line.contains("seconds")) steps[step] = line["seconds"];
        if (line.contains("validation_seconds")) validations[step] = line["validation_seconds"];
    }
    Json timing = {{"step", Json::array()}, {"seconds", Json::array()}};
    double seconds = 0, validation_seconds = 0;
    for (const auto& [step, s] : steps) {
        timing["step"].push_back(step);
        timing["seconds"].push_back(s);
        seconds += s;
    }
    for (const auto& [step, s] : validations) validation_seconds += s;
    return {{"sessions", sessions},
            {"timing", timing},
            {"training_seconds", seconds},
            {"validation_seconds", validation_seconds},
            {"memory", memory},
            {"profile", profile(run)},
            {"repeat", fmt::format("wavllm train --preset {}/config.json --out runs/again", run.path.string())}};
}

}  // namespace wavllm
