#pragma once
// A model as the user names it: a file or folder of her own, or a name of presets/sources.json.

#include <filesystem>
#include <map>
#include <string>

namespace wavllm {

/// Files by role: always "model" (for a local folder: the folder itself); what sources.json has besides ("config",
/// "tokenizer", "vocabulary") for models named there.
struct ModelFiles {
    std::string name;
    std::map<std::string, std::filesystem::path> files;
    bool local = false;  ///< a path was given

    const std::filesystem::path& model() const {
        return files.at("model");
    }
};

/// Finds the model, fetching and checking its files with a progress bar where they are not in the cache yet. Throws
/// UsageError with the nearest known name, FileError for a path that does not exist or a download that fails.
ModelFiles find_model(const std::string& name_or_path);

}  // namespace wavllm
