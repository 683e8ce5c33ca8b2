#pragma once
// What a run leaves on disk: config.json, metrics.jsonl (one line a step, the same bytes in every run of the same
// config), timing.jsonl (what depends on the machine), checkpoints/step-N.safetensors (the last few),
// adapter.safetensors (the result).

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "train/adapter_file.h"
#include "train/optimizer.h"

namespace wavllm {

class RunFolder {
public:
    /// A new run: makes the folder and writes config.json. Throws UsageError if a run is there already (continue it, or
    /// choose another folder).
    static RunFolder create(const std::filesystem::path& path, const Preset& preset);
    /// An existing run, and its preset.
    static RunFolder open(const std::filesystem::path& path);

    const Preset& preset() const {
        return preset_;
    }
    const std::filesystem::path& path() const {
        return path_;
    }
    std::filesystem::path adapter_file() const {
        return path_ / "adapter.safetensors";
    }

    /// Appends one line and hands it to the system: a killed process loses none.
    void log(const nlohmann::ordered_json& metrics);
    void log_timing(const nlohmann::ordered_json& timing);

    /// Writes parameters and Adam's moments after `steps_done` steps atomically, then removes all but the newest
    /// `keep`. On failure (a full disk) throws FileError; what was saved before stays.
    void save(int64_t steps_done, Optimizer& optimizer, int64_t keep);
    /// Loads the newest checkpoint into the optimizer and its parameters, cuts metrics.jsonl back to it, and returns
    /// the steps done; 0 if there is none. Throws FileError if it does not fit the model.
    int64_t restore(Optimizer& optimizer);
    /// What save_adapter notes as the adapter's base; without it, nothing.
    void set_base(BaseModels base) {
        base_ = std::move(base);
    }
    /// Writes the parameters alone, with preset and base as metadata: what transcribe and eval read.
    void save_adapter(const Parameters& parameters) const;

private:
    explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
    std::filesystem::path path_;
    Preset preset_;
    BaseModels base_;
};

}  // namespace wavllm
