#include "train/run_folder.h"

#include <cstring>
#include <fstream>

#include "data/json.h"
#include "models/checkpoint/checkpoint.h"
#include "models/weights.h"
#include "tensor/atomic_file.h"
#include "tensor/text.h"
#include "train/record.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;

constexpr const char* kParameter = "parameter/";
constexpr const char* kFirst = "adam.m/";
constexpr const char* kSecond = "adam.v/";

/// What a file is to hold, on the CPU until it is written.
class ToStore {
public:
    void add(const std::string& name, const Tensor& t) {
        const Tensor& here = held_.emplace_back(t.to(Device::cpu));
        tensors_.push_back({name,
                            here.dtype(),
                            {here.shape().begin(), here.shape().end()},
                            {static_cast<const std::byte*>(here.raw()), here.bytes()}});
    }
    const std::vector<TensorToStore>& tensors() const {
        return tensors_;
    }

private:
    std::vector<Tensor> held_;
    std::vector<TensorToStore> tensors_;
};

/// Checkpoints by the steps they stand for, oldest first.
std::map<int64_t, fs::path> checkpoints_in(const fs::path& folder) {
    std::map<int64_t, fs::path> found;
    if (!fs::exists(folder)) return found;
    for (const auto& entry : fs::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        int64_t step = 0;
        char tail[16] = {};
        if (std::sscanf(name.c_str(), "step-%ld.safetensor%1[s]", &step, tail) == 2 && name.ends_with(".safetensors"))
            found[step] = entry.path();
    }
    return found;
}

/// convert: the file's may be of half the precision (train.adapter_dtype).
void copy_into(const Checkpoint& file, const std::string& name, Tensor& t, bool convert = false) {
    const StoredTensor& s = file.at(name);
    Tensor stored = to_tensor(s);
    if (convert && info(stored.dtype()).floating) stored = stored.to(t.dtype());
    if (stored.dtype() != t.dtype() || !(stored.shape() == t.shape()))
        throw FileError("{}: \"{}\" is {}, but this model's is {} {}", file.path().string(), name, stored.describe(),
                        t.shape().str(), wavllm::name(t.dtype()));
    t.assign(stored);
}

void append_line(const fs::path& path, const nlohmann::ordered_json& line) {
    std::ofstream out(path, std::ios::app | std::ios::binary);
    out << line.dump() << '\n';
    out.flush();
    if (!out) throw FileError("{}: cannot be written: {}", path.string(), std::strerror(errno));
}

/// Keeps the lines whose "step" is below `steps_done`.
void cut_metrics(const fs::path& path, int64_t steps_done) {
    std::ifstream in(path, std::ios::binary);
    std::string line, kept;
    while (std::getline(in, line)) {
        const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
        // a line that a killed process left half written is not JSON
        if (json.is_object() && json.value("step", int64_t{0}) < steps_done) kept += line + '\n';
    }
    write_file_atomically(path, kept);
}

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
    ToStore file;
    for (size_t i = 0; i < optimizer.parameters().size(); ++i) {
        const Parameter& p = optimizer.parameters()[i];
        file.add(kParameter + p.name, p.tensor);
        file.add(kFirst + p.name, optimizer.first()[i]);
        file.add(kSecond + p.name, optimizer.second()[i]);
    }
    const fs::path folder = path_ / "checkpoints";
    write_safetensors(folder / fmt::format("step-{:06}.safetensors", steps_done), file.tensors(),
                      {{"steps_done", std::to_string(steps_done)}, {"preset", preset_.to_json().dump()}});
    auto all = checkpoints_in(folder);
    while (static_cast<int64_t>(all.size()) > keep) {
        fs::remove(all.begin()->second);
        all.erase(all.begin());
    }
}

int64_t RunFolder::restore(Optimizer& optimizer) {
    const auto all = checkpoints_in(path_ / "checkpoints");
    const int64_t steps_done = all.empty() ? 0 : all.rbegin()->first;
    if (!all.empty()) {
        const auto file = open_checkpoint(all.rbegin()->second);
        for (size_t i = 0; i < optimizer.parameters().size(); ++i) {
            Parameter p = optimizer.parameters()[i];
            copy_into(*file, kParameter + p.name, p.tensor);
            copy_into(*file, kFirst + p.name, optimizer.first()[i]);
            copy_into(*file, kSecond + p.name, optimizer.second()[i]);
        }
        if (file->tensors().size() != 3 * optimizer.parameters().size())
            throw FileError("{}: {} tensors, but this model's state has {}; was the preset changed?",
                            file->path().string(), file->tensors().size(), 3 * optimizer.parameters().size());
    }
    cut_metrics(path_ / "metrics.jsonl", steps_done);
    cut_validations(*this, steps_done);
    return steps_done;
}

void RunFolder::save_adapter(const Parameters& parameters) const {
    const DType dtype = preset_.train.adapter_dtype == "f16"    ? DType::f16
                        : preset_.train.adapter_dtype == "bf16" ? DType::bf16
                                                                : DType::f32;
    ToStore file;
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
    if (meta == m.end() || !meta->contains("preset"))
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
