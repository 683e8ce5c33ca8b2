#pragma once
// What a run left in its folder, as far as it can be read: a killed run may leave its last line half written.

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "models/preset/preset.h"

namespace wavllm {

using Json = nlohmann::ordered_json;

/// One clip that was answered.
struct AnsweredClip {
    std::string set, id, reference;
    std::optional<std::string> llm, ctc, joint;
    /// The answer of both together, else the LLM's, else the CTC head's.
    std::string best() const {
        return joint ? *joint : llm ? *llm : ctc.value_or("");
    }
    bool answered() const {
        return llm || ctc || joint;
    }
};

struct RunFiles {
    std::filesystem::path path;
    Preset preset;
    std::vector<Json> metrics, timing;                             ///< lines that are JSON objects, in order
    std::map<std::pair<std::string, std::string>, Json> clips;     ///< of clips.jsonl by set and id
    std::map<int64_t, std::vector<AnsweredClip>> validations;      ///< by steps done
    std::map<std::string, std::vector<AnsweredClip>> evaluations;  ///< by set, all heads together
    Json attention, base;                                          ///< empty if there is none

    /// Throws UsageError if there is no run at `path`.
    static RunFiles read(const std::filesystem::path& path);
};

}  // namespace wavllm
