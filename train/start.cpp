#include "train/start.h"

#include <algorithm>

#include "models/lora/lora.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;

using Applies = bool (*)(const Preset& before, const Preset& now);

bool always(const Preset&, const Preset&) {
    return true;
}
template <auto kKind>
bool both(const Preset& a, const Preset& b) {
    return kKind(a) && kKind(b);
}
constexpr auto kAdapters = [](const Preset& p) { return p.connector.kind == "wavllm"; };
constexpr auto kAcoustic = [](const Preset& p) { return p.connector.kind == "wavllm" && !p.model.wavlm.empty(); };
constexpr auto kQFormer = [](const Preset& p) { return p.connector.kind == "qformer"; };
constexpr auto kPooled = [](const Preset& p) { return p.connector.kind == "pooled"; };
constexpr auto kCtc = [](const Preset& p) { return p.has_ctc(); };
constexpr auto kDropsBlanks = [](const Preset& p) { return p.has_ctc() && p.ctc.drop_blanks; };

bool has_prompt_adapter(const Preset& before, const Preset&) {
    return before.prompt_adapter.hidden > 0;
}
/// r is in the file otherwise.
bool has_none(const Preset& before, const Preset&) {
    return before.prompt_adapter.hidden == 0;
}

struct Value {
    const char* name;
    Applies applies;
    bool shapes = false;  ///< it decides which tensors there are, and can only be the same
};
constexpr Value kValues[] = {{"model.chat_template", always},
                             {"model.encoder_padding", always},
                             {"model.norm_eps", always},
                             {"model.tokenizer", always},
                             {"connector.kind", always, true},
                             {"connector.window", both<kQFormer>},
                             {"connector.queries", both<kQFormer>, true},
                             {"connector.dim", both<kQFormer>, true},
                             {"connector.heads", both<kQFormer>},
                             {"connector.ffn", both<kQFormer>, true},
                             {"connector.layers", both<kQFormer>, true},
                             {"connector.pool", both<kPooled>},
                             {"adapter.mid", both<kAdapters>, true},
                             {"adapter.acoustic_mid", both<kAcoustic>, true},
                             {"adapter.dim", both<kAdapters>, true},
                             {"adapter.taps", both<kAdapters>, true},
                             {"adapter.bottleneck", both<kAdapters>, true},
                             {"adapter.out", both<kAdapters>, true},
                             {"adapter.output_norm", always},
                             {"lora.rank", always, true},
                             {"lora.alpha", has_none},
                             {"lora.targets", always, true},
                             {"prompt_adapter.hidden", has_prompt_adapter, true},
                             {"prompt_adapter.clamp", has_prompt_adapter},
                             {"ctc.merges", both<kCtc>},
                             {"ctc.draft", both<kCtc>},
                             {"ctc.drop_blanks", both<kCtc>},
                             {"ctc.blank_margin", both<kDropsBlanks>},
                             {"ctc.drop_repeats", both<kCtc>}};

std::string text_of(const nlohmann::ordered_json& preset, const std::string& name) {
    const size_t dot = name.find('.');
    const auto& value = preset.at(name.substr(0, dot)).at(name.substr(dot + 1));
    return value.is_string() ? value.get<std::string>() : value.dump();
}

bool equal(const std::string& name, const std::string& a, const std::string& b) {
    return a == b || (name == "lora.targets" && lora_targets(a) == lora_targets(b));
}

/// The names in train.from_changes.
std::vector<std::string> meant_to_change(const Preset& run) {
    std::vector<std::string> names, known;
    for (const Value& v : kValues)
        if (!v.shapes) known.emplace_back(v.name);
    const std::string& all = run.train.from_changes;
    for (size_t at = 0; at < all.size();) {
        const size_t end = std::min(all.find(',', at), all.size());
        names.push_back(all.substr(at, end - at));
        if (std::find(known.begin(), known.end(), names.back()) == known.end())
            throw UsageError(
                "train.from_changes: \"{}\" is no value that may differ from those of train.from's file; the nearest "
                "is \"{}\"",
                printable(names.back()), nearest_name(names.back(), known));
        at = end + 1;
    }
    return names;
}

}  // namespace

fs::path start_file(const std::string& from, const fs::path& project) {
    if (fs::exists(from)) return from;
    if (fs::exists(project / from)) return project / from;
    throw FileError("train.from={}: no such file, neither in the current folder nor in {}", printable(from, 400),
                    project.string());
}

std::vector<std::string> check_start(const AdapterFile& file, const Preset& run, const BaseModels& base) {
    const Preset before = file.preset();
    file.check_base(base);
    const std::vector<std::string> meant = meant_to_change(run);
    const nlohmann::ordered_json a = before.to_json(), b = run.to_json();
    std::vector<std::string> lines, differ, set, names;
    for (const auto& [name, applies, shapes] : kValues) {
        const std::string was = text_of(a, name), is = text_of(b, name);
        if (!applies(before, run) || equal(name, was, is)) continue;
        if (std::find(meant.begin(), meant.end(), name) != meant.end()) {
            lines.push_back(fmt::format("train.from: {} changes from {} to {}", name, printable(was), printable(is)));
            continue;
        }
        differ.push_back(fmt::format("{}={}, here {}", name, printable(was), printable(is)));
        set.push_back(fmt::format("--set {}={}", name, printable(was)));
        if (!shapes) names.emplace_back(name);
    }
    if (!differ.empty())
        throw FileError(
            "{}: it was trained with {}: its tensors would compute something else than where that run ended; say {}{}",
            file.path().string(), fmt::join(differ, "; "), fmt::join(set, " "),
            names.empty() ? ""
                          : fmt::format("; if a change is meant, --set train.from_changes={}", fmt::join(names, ",")));
    return lines;
}

bool start_from_adapter(const AdapterFile& file, Parameters& parameters) {
    const bool wanted =
        std::any_of(parameters.begin(), parameters.end(), [](const Parameter& p) { return p.group == "prompt"; });
    file.copy_to(parameters, true);
    return wanted && !file.has_prompt_adapter();
}

bool start_from_adapter(const fs::path& file, Parameters& parameters) {
    return start_from_adapter(AdapterFile(file), parameters);
}

}  // namespace wavllm
