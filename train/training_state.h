#pragma once
// What every kind of run keeps on disk: checkpoints/step-N.safetensors with parameters and Adam's moments, and files of
// one JSON object a line.

#include <filesystem>
#include <nlohmann/json.hpp>

#include "models/checkpoint/checkpoint.h"
#include "train/optimizer.h"

namespace wavllm {

/// Tensors for write_safetensors, held on the CPU until they are written.
class TensorsToStore {
public:
    void add(const std::string& name, const Tensor& t);
    const std::vector<TensorToStore>& tensors() const {
        return tensors_;
    }

private:
    std::vector<Tensor> held_;
    std::vector<TensorToStore> tensors_;
};

/// Copies a file's tensor into t. convert: it may be of another precision. Throws FileError where it does not fit.
void copy_into(const Checkpoint& file, const std::string& name, Tensor& t, bool convert = false);

/// Writes folder/step-N.safetensors atomically, then removes all but the newest `keep`. On failure (a full disk) throws
/// FileError; what was saved before stays.
void save_training_state(const std::filesystem::path& folder, int64_t steps_done, Optimizer& optimizer, int64_t keep,
                         std::vector<std::pair<std::string, std::string>> metadata);
/// Loads the newest of a folder and returns its steps; 0 if there is none. Throws FileError if it does not fit the
/// model.
int64_t restore_training_state(const std::filesystem::path& folder, Optimizer& optimizer);

/// Appends one line and hands it to the system: a killed process loses none.
void append_line(const std::filesystem::path& path, const nlohmann::ordered_json& line);
/// Keeps the lines whose "step" is below `steps_done`. Throws FileError for a file that is there and cannot be read.
void cut_metrics(const std::filesystem::path& path, int64_t steps_done);

}  // namespace wavllm
