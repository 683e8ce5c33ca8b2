#include "train/training_state.h"

#include <cstring>
#include <fstream>

#include "models/weights.h"
#include "tensor/atomic_file.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;

constexpr const char* kParameter = "parameter/";
constexpr const char* kFirst = "adam.m/";
constexpr const char* kSecond = "adam.v/";

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

}  // namespace

void TensorsToStore::add(const std::string& name, const Tensor& t) {
    const Tensor& here = held_.emplace_back(t.to(Device::cpu));
    tensors_.push_back({name,
                        here.dtype(),
                        {here.shape().begin(), here.shape().end()},
                        {static_cast<const std::byte*>(here.raw()), here.bytes()}});
}

void copy_into(const Checkpoint& file, const std::string& name, Tensor& t, bool convert) {
    const StoredTensor& s = file.at(name);
    Tensor stored = to_tensor(s);
    if (convert && info(stored.dtype()).floating) stored = stored.to(t.dtype());
    if (stored.dtype() != t.dtype() || !(stored.shape() == t.shape()))
        throw FileError("{}: \"{}\" is {}, but this model's is {} {}", file.path().string(), name, stored.describe(),
                        t.shape().str(), wavllm::name(t.dtype()));
    t.assign(stored);
}

void save_training_state(const fs::path& folder, int64_t steps_done, Optimizer& optimizer, int64_t keep,
                         std::vector<std::pair<std::string, std::string>> metadata) {
    TensorsToStore file;
    for (size_t i = 0; i < optimizer.parameters().size(); ++i) {
        const Parameter& p = optimizer.parameters()[i];
        file.add(kParameter + p.name, p.tensor);
        file.add(kFirst + p.name, optimizer.first()[i]);
        file.add(kSecond + p.name, optimizer.second()[i]);
    }
    metadata.emplace_back("steps_done", std::to_string(steps_done));
    write_safetensors(folder / fmt::format("step-{:06}.safetensors", steps_done), file.tensors(), metadata);
    auto all = checkpoints_in(folder);
    while (static_cast<int64_t>(all.size()) > keep) {
        std::error_code error;
        fs::remove(all.begin()->second, error);
        if (error)
            throw FileError("{}: an older checkpoint cannot be removed: {}", all.begin()->second.string(),
                            error.message());
        all.erase(all.begin());
    }
}

int64_t restore_training_state(const fs::path& folder, Optimizer& optimizer) {
    const auto all = checkpoints_in(folder);
    if (all.empty()) return 0;
    const auto file = open_checkpoint(all.rbegin()->second);
    for (size_t i = 0; i < optimizer.parameters().size(); ++i) {
        Parameter p = optimizer.parameters()[i];
        copy_into(*file, kParameter + p.name, p.tensor);
        copy_into(*file, kFirst + p.name, optimizer.first()[i]);
        copy_into(*file, kSecond + p.name, optimizer.second()[i]);
    }
    if (file->tensors().size() != 3 * optimizer.parameters().size())
        throw FileError("{}: {} tensors, but this model's state has {}; was the preset changed?", file->path().string(),
                        file->tensors().size(), 3 * optimizer.parameters().size());
    return all.rbegin()->first;
}

void append_line(const fs::path& path, const nlohmann::ordered_json& line) {
    std::ofstream out(path, std::ios::app | std::ios::binary);
    out << line.dump() << '\n';
    out.flush();
    if (!out) throw FileError("{}: cannot be written: {}", path.string(), std::strerror(errno));
}

void cut_metrics(const fs::path& path, int64_t steps_done) {
    std::ifstream in(path, std::ios::binary);
    if (!in && fs::exists(path))  // or its lines would be lost
        throw FileError("{}: cannot be read: {}", path.string(), std::strerror(errno));
    std::string line, kept;
    while (std::getline(in, line)) {
        const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
        // a line that a killed process left half written is not JSON
        if (json.is_object() && json.value("step", int64_t{0}) < steps_done) kept += line + '\n';
    }
    if (in.bad()) throw FileError("{}: cannot be read: {}", path.string(), std::strerror(errno));
    write_file_atomically(path, kept);
}

}  // namespace wavllm
