#include "train/adapter_file.h"

#include <algorithm>
#include <set>

#include "data/json.h"
#include "models/checkpoint/identity.h"
#include "models/convert/convert.h"
#include "models/convert/peft.h"
#include "models/wavllm/released_system.h"
#include "tensor/text.h"
#include "train/training_state.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;

/// A hash by its first digits, since two of them differ there; anything else, such as a seed, whole.
std::string shown(const std::string& identity) {
    const bool hash = identity.size() == 64 && identity.find_first_not_of("0123456789abcdef") == std::string::npos;
    return hash ? identity.substr(0, 16) : printable(identity);
}

/// A text of the file's metadata; null if it is not there.
const nlohmann::json* metadata_text(const Checkpoint& file, const char* key) {
    const nlohmann::json& m = file.metadata();
    const auto meta = m.find("__metadata__");
    if (meta == m.end() || !meta->contains(key) || !(*meta)[key].is_string()) return nullptr;
    return &(*meta)[key];
}

/// The identity of what a plan would write.
std::string identity_of(const Checkpoint& file, const Plan& plan) {
    std::vector<RenamedTensor> tensors;
    const std::vector<StreamedTensor> written = streamed(file, plan);
    for (size_t i = 0; i < written.size(); ++i) {
        tensors.push_back({written[i].name, plan.tensors[i].source});
        if (plan.tensors[i].head_dim == 0) continue;
        tensors.back().bytes = [&write = written[i].bytes] {
            std::vector<std::byte> all;
            write([&](std::span<const std::byte> piece) { all.insert(all.end(), piece.begin(), piece.end()); });
            return all;
        };
    }
    return weights_identity(std::move(tensors));
}

BaseModels released_base(const Checkpoint& file) {
    const int64_t heads = llama_heads(released_sizes(file), heads_beside(file.path()));
    const ConvertOptions llama{.part = ConvertPart::llama,
                               .naming = LlamaNaming::hugging_face,
                               .dtype = {},
                               .heads = heads,
                               .kv_heads = heads};
    BaseModels result;
    for (const auto& [part, command, options] :
         {std::tuple("whisper", std::string("whisper"), ConvertOptions{.part = ConvertPart::whisper}),
          {"wavlm", "wavlm", ConvertOptions{.part = ConvertPart::wavlm}},
          {"llm", fmt::format("llama --naming hf --heads {}", heads), llama}})
        result[part] = {fmt::format("what `wavllm convert {} FOLDER --part {}` writes", file.path().string(), command),
                        identity_of(file, plan_conversion(file, options))};
    return result;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> adapter_metadata(const Preset& preset, const BaseModels& base) {
    std::vector<std::pair<std::string, std::string>> metadata{{"preset", preset.to_json().dump()}};
    if (base.empty()) return metadata;
    nlohmann::ordered_json json;
    for (const auto& [part, model] : base) json[part] = {{"name", model.name}, {"identity", model.identity}};
    metadata.emplace_back("base", json.dump());
    return metadata;
}

AdapterFile::AdapterFile(const fs::path& file) : file_(open_checkpoint(file)), released_(is_released(*file_)) {
    if (!released_) {
        for (const StoredTensor& t : file_->tensors()) tensors_[t.name] = &t;
        return;
    }
    const ReleasedReport report = check_released(*file_);
    if (!report.whole()) throw FileError("{}: not a whole released checkpoint: {}", file.string(), report.problems());
    const std::string_view llama = kReleasedLlama;
    for (const ReleasedTensor& t : released_tensors(report.sizes))
        if (is_trained(t))
            tensors_[t.name.starts_with(llama) ? t.name.substr(llama.size()) : t.name] = file_->find(t.name);
}

Preset AdapterFile::preset() const {
    if (released_) return released_preset(released_sizes(*file_));
    const std::string file = file_->path().string();
    const nlohmann::json* text = metadata_text(*file_, "preset");
    if (text == nullptr)
        throw FileError(
            "{}: no preset in its metadata, so nothing says what it was trained on; name an adapter that `wavllm "
            "train` "
            "wrote, or a released checkpoint itself",
            file);
    return parse_preset(parse_json(text->get<std::string>(), file), file);
}

BaseModels AdapterFile::base() const {
    if (released_) return released_base(*file_);
    BaseModels result;
    const nlohmann::json* stored = metadata_text(*file_, "base");
    if (stored == nullptr) return result;
    const std::string file = file_->path().string();
    const nlohmann::json base = parse_json(stored->get<std::string>(), file);
    for (const auto& [part, model] : base.items()) {
        const auto text = [&](const char* key) {
            if (!model.is_object() || !model.contains(key) || !model[key].is_string())
                throw FileError("{}: the base of its metadata has no text \"{}\" for {}", file, key, printable(part));
            return model[key].get<std::string>();
        };
        result[part] = {text("name"), text("identity")};
    }
    return result;
}

void AdapterFile::check_base(const BaseModels& loaded) const {
    const std::string file = file_->path().string();
    const BaseModels stored = base();
    for (const auto& [part, model] : loaded)
        if (!stored.contains(part))
            throw FileError(
                "{}: it does not say which {} it was trained on (\"base\" of its metadata, which `wavllm train` "
                "writes), so it cannot be told whether \"{}\" is the right one; name a file that says it, or train "
                "the adapter anew",
                file, part, printable(model.name));
    for (const auto& [part, model] : stored) {
        const auto found = loaded.find(part);
        if (found == loaded.end())
            throw FileError("{}: this adapter was trained with the {} \"{}\", but is to be loaded without any; name it",
                            file, printable(part), printable(model.name));
        if (found->second.identity == model.identity) continue;
        throw FileError(
            "{}: this adapter was trained on the {} \"{}\" (weights {}), but is to be loaded on \"{}\" (weights {}): "
            "what it learned means nothing there; name the first one, or train an adapter for the second",
            file, part, printable(model.name, 200), shown(model.identity), printable(found->second.name, 200),
            shown(found->second.identity));
    }
}

bool AdapterFile::has_prompt_adapter() const {
    return std::any_of(tensors_.begin(), tensors_.end(), [](const auto& t) { return is_prompt_adapter_name(t.first); });
}

const StoredTensor& AdapterFile::at(const std::string& parameter) const {
    const auto found = tensors_.find(parameter);
    if (found != tensors_.end()) return *found->second;
    if (is_prompt_adapter_name(parameter) && !has_prompt_adapter())
        throw FileError("{}: no tensor \"{}\", nor any other of a prompt adapter: a first stage's file has none",
                        file_->path().string(), parameter);
    return file_->at(parameter);  // says which name is near
}

/// names: the parameters', without those that may be missing.
void AdapterFile::expect_all_taken(size_t taken, const std::vector<std::string>& names) const {
    if (taken == tensors_.size()) return;
    const std::set<std::string_view> known(names.begin(), names.end());
    std::vector<std::string> left;
    bool prompt = true, ctc = true;
    for (const auto& [name, t] : tensors_) {
        if (known.contains(name)) continue;
        left.push_back(printable(name));
        prompt = prompt && is_prompt_adapter_name(name);
        ctc = ctc && name.starts_with("ctc.");
    }
    std::string hint;
    if (const auto fc1 = tensors_.find("scale_fc_1.weight"); prompt && fc1 != tensors_.end())
        hint =
            fmt::format(": they are a prompt adapter's; say --set prompt_adapter.hidden={}", fc1->second->shape.at(0));
    else if (ctc)
        hint = ": they are a CTC head's, which a model has if one of its stages has a ctc_weight";
    const size_t shown = std::min<size_t>(left.size(), 4);
    throw FileError("{}: {} tensors have no parameters in this model: {}{}{}", file_->path().string(), left.size(),
                    fmt::join(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                    shown < left.size() ? ", ..." : "", hint);
}

void AdapterFile::check_shapes(const Preset& preset, const BaseConfigs& base, bool may_lack_prompt_adapter) const {
    const bool lacks = may_lack_prompt_adapter && !has_prompt_adapter();
    std::vector<std::string> names;
    survey_parameters(preset, base, [&](const std::string& name, const Shape& shape) {
        if (lacks && is_prompt_adapter_name(name)) return;
        const StoredTensor& t = at(name);
        if (Shape stored{std::span<const int64_t>(t.shape)}; !(stored == shape))
            throw FileError("{}: \"{}\" is {}, but the values of the preset and its models make it {}",
                            file_->path().string(), name, stored.str(), shape.str());
        names.push_back(name);
    });
    expect_all_taken(names.size(), names);
}

void AdapterFile::copy_to(Parameters& parameters, bool may_lack_prompt_adapter) const {
    const bool lacks = may_lack_prompt_adapter && !has_prompt_adapter();
    std::vector<std::string> names;
    for (Parameter& p : parameters) {
        if (lacks && p.group == "prompt") continue;
        copy_into(*file_, at(p.name).name, p.tensor, true);
        names.push_back(p.name);
    }
    expect_all_taken(names.size(), names);
}

BaseModels adapter_base(const fs::path& file) {
    return AdapterFile(file).base();
}

void check_adapter_base(const fs::path& file, const BaseModels& loaded) {
    AdapterFile(file).check_base(loaded);
}

Preset adapter_preset(const fs::path& file) {
    return AdapterFile(file).preset();
}

void load_adapter(const fs::path& file, Parameters& parameters) {
    AdapterFile(file).copy_to(parameters);
}

}  // namespace wavllm
