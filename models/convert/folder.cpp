// Files and folders that a conversion ends in.

#include <algorithm>
#include <map>

#include "models/checkpoint/readers.h"
#include "models/checkpoint/torch/torch_writer.h"
#include "models/convert/convert.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;

uint64_t bytes_of(const StreamedTensor& t) {
    return checked_bytes("the result", t.name, t.dtype, t.shape);
}

/// The same tensors, which say how far they are.
std::vector<StreamedTensor> counted(std::span<const StreamedTensor> tensors, uint64_t& done, uint64_t total,
                                    const ConvertProgress& progress) {
    std::vector<StreamedTensor> result(tensors.begin(), tensors.end());
    if (!progress) return result;
    for (StreamedTensor& t : result)
        t.bytes = [&done, total, &progress, inner = t.bytes](const StreamedTensor::Write& write) {
            inner([&](std::span<const std::byte> piece) {
                write(piece);
                done += piece.size();
                progress(done, total);
            });
        };
    return result;
}

uint64_t total_of(std::span<const StreamedTensor> tensors) {
    uint64_t total = 0;
    for (const StreamedTensor& t : tensors) total += bytes_of(t);
    return total;
}

/// With the mark that transformers wants to see.
FileMetadata marked(FileMetadata metadata) {
    const bool has = std::any_of(metadata.begin(), metadata.end(), [](const auto& m) { return m.first == "format"; });
    if (!has) metadata.emplace_back("format", "pt");
    return metadata;
}

}  // namespace

FileMetadata file_metadata(const Checkpoint& checkpoint) {
    FileMetadata result;
    const auto stored = checkpoint.metadata().find("__metadata__");
    if (stored == checkpoint.metadata().end() || !stored->is_object()) return result;
    for (const auto& [key, value] : stored->items())
        if (value.is_string()) result.emplace_back(key, value.get<std::string>());
    return result;
}

bool is_torch_name(const fs::path& file) {
    return file.extension() == ".pt" || file.extension() == ".bin";
}

void write_model_file(const fs::path& file, const std::vector<StreamedTensor>& tensors, const ConvertProgress& progress,
                      const FileMetadata& metadata) {
    uint64_t done = 0;
    const auto all = counted(tensors, done, total_of(tensors), progress);
    if (is_torch_name(file))
        write_torch_streamed(file, all);
    else
        write_safetensors_streamed(file, all, marked(metadata));
}

void write_gguf_file(const fs::path& file, const GgufMetadata& metadata, const std::vector<StreamedTensor>& tensors,
                     const ConvertProgress& progress) {
    uint64_t done = 0;
    write_gguf_streamed(file, metadata, counted(tensors, done, total_of(tensors), progress));
}

void write_model_folder(const fs::path& folder, const std::vector<StreamedTensor>& tensors,
                        const nlohmann::ordered_json& config, uint64_t shard_bytes, const ConvertProgress& progress,
                        const FileMetadata& metadata) {
    std::error_code problem;
    fs::create_directories(folder, problem);
    if (problem) throw FileError("{}: cannot make the folder: {}", folder.string(), problem.message());
    for (const char* other : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "model.bin"})
        if (fs::exists(folder / other))
            throw UsageError("{}: a model is there already ({}); choose another folder", folder.string(), other);
    std::vector<std::vector<StreamedTensor>> shards(1);
    uint64_t in_shard = 0;
    for (const StreamedTensor& t : tensors) {
        const uint64_t bytes = bytes_of(t);
        if (shard_bytes > 0 && in_shard > 0 && in_shard + bytes > shard_bytes) {
            shards.emplace_back();
            in_shard = 0;
        }
        shards.back().push_back(t);
        in_shard += bytes;
    }
    uint64_t done = 0;
    const uint64_t total = total_of(tensors);
    nlohmann::ordered_json weight_map = nlohmann::ordered_json::object();
    for (size_t i = 0; i < shards.size(); ++i) {
        const std::string name = shards.size() == 1
                                     ? "model.safetensors"
                                     : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
        write_safetensors_streamed(folder / name, counted(shards[i], done, total, progress), marked(metadata));
        for (const StreamedTensor& t : shards[i]) weight_map[t.name] = name;
    }
    if (!config.is_null()) write_file_atomically(folder / "config.json", config.dump(2) + '\n');
    // last: a folder whose conversion was cut off has no index and does not open
    if (shards.size() > 1)
        write_file_atomically(
            folder / "model.safetensors.index.json",
            nlohmann::ordered_json{{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}}.dump(2) + '\n');
}

}  // namespace wavllm
