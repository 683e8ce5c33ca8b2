// wavllm inspect: what is in a checkpoint or a preset.

#include <map>
#include <set>

#include "models/checkpoint/released.h"
#include "models/download.h"
#include "models/preset/preset.h"
#include "tensor/error.h"
#include "tensor/text.h"
#include "wavllm/command.h"
#include "wavllm/support/home.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/model_files.h"
#include "wavllm/support/table.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

struct Options {
    std::string target;
    bool as_json = false, tensors = false;
};

struct Totals {
    int64_t tensors = 0, parameters = 0;
    uint64_t bytes = 0;
};

int64_t elements(const StoredTensor& t) {
    int64_t n = 1;
    for (const int64_t d : t.shape) n *= d;
    return n;
}

/// Tensors that share their bytes under two names (a tied output matrix) count once.
std::map<std::string, Totals> totals_by_dtype(const Checkpoint& checkpoint) {
    std::map<std::string, Totals> result;
    std::set<const std::byte*> seen;
    for (const StoredTensor& t : checkpoint.tensors()) {
        if (!t.bytes.empty() && !seen.insert(t.bytes.data()).second) continue;
        Totals& sum = result[std::string(name(t.dtype))];
        ++sum.tensors;
        sum.parameters += elements(t);
        sum.bytes += t.bytes.size();
    }
    return result;
}

/// Metadata with nested objects flattened to dotted keys; long lists (vocabularies) and long texts (licences, chat
/// templates) are named by their size instead.
void summarise(const json& value, const std::string& key, ordered_json& out) {
    constexpr size_t kLongList = 16, kLongText = 160;
    if (value.is_object()) {
        for (const auto& [k, v] : value.items()) summarise(v, key.empty() ? k : key + "." + k, out);
    } else if (value.is_array() && value.size() > kLongList) {
        out[key] = fmt::format("({} values)", value.size());
    } else if (value.is_string() && value.get_ref<const std::string&>().size() > kLongText) {
        out[key] = fmt::format("(text of {} bytes)", value.get_ref<const std::string&>().size());
    } else {
        out[key] = value;
    }
}

/// The released WavLLM: its parts, its sizes, and whether every key is there.
ordered_json describe_released(const Checkpoint& checkpoint) {
    const ReleasedReport report = check_released(checkpoint);
    const ReleasedSizes& s = report.sizes;
    ordered_json out;
    out["whole"] = report.whole();
    out["parts"] = ordered_json::array();
    int64_t counted = 0, live = 0, second = 0;
    for (const ReleasedPart& p : report.parts) {
        out["parts"].push_back(
            {{"part", p.name}, {"trained", p.trained}, {"tensors", p.tensors}, {"parameters", p.parameters}});
        live += p.trained == "stage 1" ? p.parameters : 0;
        counted += p.trained == "stage 1" || p.name == "projection without WavLM" ? p.parameters : 0;
        second += p.trained == "stage 2" ? p.parameters : 0;
    }
    out["trained_in_stage_1"] = live;
    out["trained_as_the_paper_counts"] = counted;  // with the projection that is not used
    out["added_in_stage_2"] = second;
    out["sizes"] = {{"whisper", fmt::format("{} layers, d {}, FFN {}, {} mel", s.whisper_layers, s.whisper_dim,
                                            s.whisper_ffn, s.mels)},
                    {"wavlm", fmt::format("{} layers, d {}, FFN {}, {} heads, {} convolutions", s.wavlm_layers,
                                          s.wavlm_dim, s.wavlm_ffn, s.wavlm_heads, s.convolutions.size())},
                    {"llama", fmt::format("{} layers, d {}, FFN {}, vocabulary {}", s.layers, s.dim, s.ffn, s.vocab)},
                    {"lora_rank", s.lora_rank},
                    {"prompt_adapter",
                     s.prompt_bottleneck > 0 ? fmt::format("bottleneck {}", s.prompt_bottleneck) : "none (stage 1)"}};
    for (const auto& [key, names] :
         {std::pair("unused", &report.unused), std::pair("missing", &report.missing),
          std::pair("left_over", &report.left_over), std::pair("misshapen", &report.misshapen)})
        out[key] = *names;
    return out;
}

ordered_json describe(const Checkpoint& checkpoint, bool with_tensors) {
    ordered_json out;
    out["path"] = checkpoint.path().string();
    out["format"] = checkpoint.format();
    out["metadata"] = ordered_json::object();
    summarise(checkpoint.metadata(), "", out["metadata"]);
    Totals all;
    out["dtypes"] = ordered_json::object();
    for (const auto& [dtype, sum] : totals_by_dtype(checkpoint)) {
        out["dtypes"][dtype] = {{"tensors", sum.tensors}, {"parameters", sum.parameters}, {"bytes", sum.bytes}};
        all.tensors += sum.tensors;
        all.parameters += sum.parameters;
        all.bytes += sum.bytes;
    }
    out["tensors"] = all.tensors;
    out["parameters"] = all.parameters;
    out["bytes"] = all.bytes;
    if (!checkpoint.refused().empty()) out["refused"] = checkpoint.refused();
    if (is_released(checkpoint)) out["released"] = describe_released(checkpoint);
    if (with_tensors) {
        out["tensor_list"] = ordered_json::array();
        for (const StoredTensor& t : checkpoint.tensors())
            out["tensor_list"].push_back(
                {{"name", t.name}, {"shape", t.shape}, {"dtype", name(t.dtype)}, {"bytes", t.bytes.size()}});
    }
    return out;
}

std::string one_line(const ordered_json& value) {
    return printable(value.dump(-1, ' ', false, json::error_handler_t::replace), 120);
}

void print_released(const ordered_json& released) {
    fmt::print("the released WavLLM: {}\n\n",
               released["whole"].get<bool>() ? "every key is there, none is left over" : "NOT whole, see below");
    Table parts({"part", "trained", "tensors", "parameters"}, {true, true});
    for (const auto& p : released["parts"])
        parts.add({p["part"].get<std::string>(), p["trained"].get<std::string>(),
                   with_commas(p["tensors"].get<int64_t>()), with_commas(p["parameters"].get<int64_t>())});
    parts.print();
    fmt::print(
        "\n  trained in stage 1: {}; with the unused projection, as the paper counts: {}; added in stage 2: {}\n",
        with_commas(released["trained_in_stage_1"].get<int64_t>()),
        with_commas(released["trained_as_the_paper_counts"].get<int64_t>()),
        with_commas(released["added_in_stage_2"].get<int64_t>()));
    for (const auto& [key, value] : released["sizes"].items())
        fmt::print("  {}: {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
    for (const char* key : {"unused", "missing", "left_over", "misshapen"})
        for (const auto& name : released[key]) fmt::print("  {}: {}\n", key, printable(name.get<std::string>(), 200));
    fmt::print("\n");
}

void print(const ordered_json& facts) {
    fmt::print("{}\nformat {}\n", facts["path"].get<std::string>(), facts["format"].get<std::string>());
    if (!facts["metadata"].empty()) {
        fmt::print("\nmetadata\n");
        for (const auto& [key, value] : facts["metadata"].items())
            fmt::print("  {} = {}\n", printable(key), one_line(value));
    }
    fmt::print("\n");
    if (facts.contains("released")) print_released(facts["released"]);
    if (facts.contains("refused"))
        for (const auto& [tensor, why] : facts["refused"].items())
            fmt::print("not readable: {}: {}\n", printable(tensor), why.get<std::string>());
    if (facts.contains("tensor_list")) {
        Table list({"tensor", "shape", "dtype", "bytes"}, {true, true, true, false});
        for (const auto& t : facts["tensor_list"])
            list.add({printable(t["name"].get<std::string>()), t["shape"].dump(), t["dtype"].get<std::string>(),
                      with_commas(t["bytes"].get<int64_t>())});
        list.print();
        fmt::print("\n");
    }
    Table sums({"dtype", "tensors", "parameters", "bytes"}, {true});
    const auto row = [&](const std::string& title, const ordered_json& sum) {
        sums.add({title, with_commas(sum["tensors"].get<int64_t>()), with_commas(sum["parameters"].get<int64_t>()),
                  with_commas(sum["bytes"].get<int64_t>())});
    };
    for (const auto& [dtype, sum] : facts["dtypes"].items()) row(dtype, sum);
    row("all", facts);
    sums.print();
    if (!facts.contains("tensor_list")) fmt::print("\n--tensors lists each tensor\n");
}

void print_values(const ordered_json& value, const std::string& key) {
    if (!value.is_object()) {
        fmt::print("{} = {}\n", key, one_line(value));
        return;
    }
    for (const auto& [k, v] : value.items()) print_values(v, key.empty() ? k : key + "." + k);
}

int inspect_preset(const fs::path& path, const Options& options) {
    const ordered_json values = load_preset(path).to_json();
    if (options.as_json) {
        write_json(values, "-");
        return 0;
    }
    fmt::print("preset {}; change a value with --set NAME=VALUE where a command takes a preset\n\n", path.string());
    print_values(values, "");
    return 0;
}

/// The preset that the user means, or an empty path: a .json file, or the name of one in presets/.
/// The preset that is meant, or an empty path: a model has the name then.
fs::path preset_named(const std::string& target) {
    if (fs::path(target).extension() == ".json" && fs::is_regular_file(target)) return target;
    const fs::path named = home_folder() / "presets" / (target + ".json");
    const bool plain = target.find('/') == std::string::npos && target != "sources";
    return plain && !fs::exists(target) && fs::is_regular_file(named) ? named : fs::path();
}

/// find_model, whose error names the presets, too.
ModelFiles find_model_or_preset(const std::string& target) {
    try {
        return find_model(target);
    } catch (const UsageError& error) {
        throw UsageError("{}; presets: {}", error.what(), fmt::join(preset_names(home_folder()), ", "));
    }
}

int inspect(const Options& options) {
    if (const fs::path preset = preset_named(options.target); !preset.empty()) return inspect_preset(preset, options);
    const ModelFiles found = find_model_or_preset(options.target);
    const auto checkpoint = open_checkpoint(found.model());
    ordered_json facts = describe(*checkpoint, options.tensors);
    for (const auto& [role, path] : found.files)
        if (!found.local && role != "model") facts["files"][role] = path.string();
    if (options.as_json) {
        write_json(facts, "-");
        return 0;
    }
    print(facts);
    for (const auto& [role, path] : found.files)
        if (role != "model") fmt::print("{} {}\n", role, path.string());
    return 0;
}

WAVLLM_COMMAND(
    inspect,
    {"inspect", "what is in a checkpoint (GGUF, CTranslate2, safetensors, PyTorch) or a preset",
     "wavllm inspect smollm2-135m-instruct-q4_1 --tensors", [](cli::App& app) {
         auto options = std::make_shared<Options>();
         app.add_option("what", options->target, "file, folder, name in presets/sources.json, or preset")->required();
         app.add_flag("--json", options->as_json, "one JSON object on stdout");
         app.add_flag("--tensors", options->tensors, "list each tensor");
         return [options] { return inspect(*options); };
     }});

}  // namespace

}  // namespace wavllm
