#include "train/run_folder.h"

#include "data/json.h"
#include "models/checkpoint/checkpoint.h"
#include "models/weights.h"
#include "tensor/atomic_file.h"
#include "tensor/text.h"
#include "train/record.h"
#include "train/training_state.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;

}  // namespace

RunFolder RunFolder::create(const fs::path& path, const Preset& preset) {
    if (fs::exists(path / "config.json"))
        throw UsageError("{}: a run is there already; continue it with --resume, or choose another folder with --out",
                         path.string());
    RunFolder run(path);
    run.preset_ = preset;
    std::error_code error;
    fs::create_directories(path / "checkpoints", error);
    if (error) throw FileError("{}: the run's folder cannot be made: {}", path.string(), error.message());
    write_file_atomically(path / "config.json", preset.to_json().dump(4) + '\n');
    return run;
}

RunFolder RunFolder::open(const fs::path& path) {
    if (!fs::exists(path / "config.json")) throw UsageError("{}: no run is there (no config.json)", path.string());
    RunFolder run(path);
    run.preset_ = load_preset(path / "config.json");
    return run;
}

void RunFolder::log(const nlohmann::ordered_json& metrics) {
    append_line(path_ / "metrics.jsonl", metrics);
}

void RunFolder::log_timing(const nlohmann::ordered_json& timing) {
    append_line(path_ / "timing.jsonl", timing);
}

void RunFolder::save(int64_t steps_done, Optimizer& optimizer, int64_t keep) {
    save_training_state(path_ / "checkpoints", steps_done, optimizer, keep, {{"preset", preset_.to_json().dump()}});
}

int64_t RunFolder::restore(Optimizer& optimizer) {
    const int64_t steps_done = restore_training_state(path_ / "checkpoints", optimizer);
    cut_metrics(path_ / "metrics.jsonl", steps_done);
    cut_validations(*this, steps_done);
    return steps_done;
}

void RunFolder::save_adapter(const Parameters& parameters) const {
    const DType dtype = preset_.train.adapter_dtype == "f16"    ? DType::f16
                        : preset_.train.adapter_dtype == "bf16" ? DType::bf16
                                                                : DType::f32;
    TensorsToStore file;
    for (const Parameter& p : parameters) file.add(p.name, p.tensor.detach().to(dtype));
    std::vector<std::pair<std::string, std::string>> metadata{{"preset", preset_.to_json().dump()}};
    if (!base_.empty()) {
        nlohmann::ordered_json base;
        for (const auto& [part, model] : base_) base[part] = {{"name", model.name}, {"identity", model.identity}};
        metadata.emplace_back("base", base.dump());
    }
    write_safetensors(adapter_file(), file.tensors(), metadata);
}

Preset adapter_preset(const fs::path& file) {
    const auto checkpoint = open_checkpoint(file);
    const nlohmann::json& m = checkpoint->metadata();
    const auto meta = m.find("__metadata__");
    if (meta == m.end() || !meta->contains("preset") || !(*meta)["preset"].is_string())
        throw FileError("{}: no preset in its metadata; is it an adapter that `wavllm train` wrote?", file.string());
    return parse_preset(parse_json((*meta)["preset"].get<std::string>(), file.string()), file.string());
}

BaseModels adapter_base(const fs::path& file) {
    const auto checkpoint = open_checkpoint(file);
    const nlohmann::json& m = checkpoint->metadata();
    BaseModels result;
    const auto meta = m.find("__metadata__");
    if (meta == m.end() || !meta->contains("base") || !(*meta)["base"].is_string()) return result;
    const nlohmann::json base = parse_json((*meta)["base"].get<std::string>(), file.string());
    for (const auto& [part, model] : base.items()) {
        const auto text = [&](const char* key) {
            if (!model.is_object() || !model.contains(key) || !model[key].is_string())
                throw FileError("{}: the base of its metadata has no text \"{}\" for {}", file.string(), key,
                                printable(part));
            return model[key].get<std::string>();
        };
        result[part] = {text("name"), text("identity")};
    }
    return result;
}

void check_adapter_base(const fs::path& file, const BaseModels& loaded) {
    for (const auto& [part, model] : adapter_base(file)) {
        const auto found = loaded.find(part);
        if (found == loaded.end() || found->second.identity == model.identity) continue;
        throw FileError(
            "{}: this adapter was trained on the {} \"{}\" (weights {}), but is to be loaded on \"{}\" (weights {}): "
            "what it learned means nothing there; name the first one, or train an adapter for the second",
            file.string(), part, printable(model.name), printable(model.identity, 16), found->second.name,
            printable(found->second.identity, 16));
    }
}

namespace {

void copy_adapter(const Checkpoint& file, Parameters& parameters, bool without_prompt_adapter) {
    size_t copied = 0;
    for (Parameter& p : parameters) {
        if (without_prompt_adapter && p.group == "prompt") continue;
        copy_into(file, p.name, p.tensor, true);
        ++copied;
    }
    if (file.tensors().size() != copied)
        throw FileError("{}: {} tensors, but the model has {} parameters", file.path().string(), file.tensors().size(),
                        copied);
}

}  // namespace

void load_adapter(const fs::path& file, Parameters& parameters) {
    copy_adapter(*open_checkpoint(file), parameters, false);
}

bool start_from_adapter(const fs::path& file, Parameters& parameters) {
    const auto checkpoint = open_checkpoint(file);
    bool wanted = false, stored = false;
    for (const Parameter& p : parameters) {
        if (p.group != "prompt") continue;
        wanted = true;
        stored = stored || checkpoint->find(p.name);
    }
    copy_adapter(*checkpoint, parameters, wanted && !stored);
    return wanted && !stored;
}

}  // namespace wavllm
