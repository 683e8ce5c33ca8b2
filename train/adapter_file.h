#pragma once
// A file of trained parameters: adapter.safetensors as `wavllm train` writes it, or the adapter in a released checkpoint
// (final.pt). It knows the preset and the frozen models it belongs to, and is loaded on nothing else.

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/checkpoint/checkpoint.h"
#include "models/parameter.h"
#include "models/preset/preset.h"
#include "models/wavllm/system.h"

namespace wavllm {

/// The frozen models that an adapter stands on, by their part ("whisper", "wavlm", "llm"). identity: weights_identity
/// (models/checkpoint/identity.h), or the seed of random weights.
struct BaseModel {
    std::string name, identity;
    bool operator==(const BaseModel&) const = default;
};
using BaseModels = std::map<std::string, BaseModel>;

/// What an adapter file says about itself: "preset" and, if it is known, "base".
std::vector<std::pair<std::string, std::string>> adapter_metadata(const Preset& preset, const BaseModels& base);

class AdapterFile {
public:
    /// Throws FileError for a file that cannot be read, and for a released checkpoint that is not whole.
    explicit AdapterFile(const std::filesystem::path& file);

    const std::filesystem::path& path() const {
        return file_->path();
    }
    /// The preset it was trained with; of a released checkpoint released_preset (models/wavllm/released_system.h).
    /// Throws FileError where there is none.
    Preset preset() const;
    /// The models it was trained on; empty where the file does not say. Of a released checkpoint they are its own, in the
    /// names and types in which `wavllm convert FILE FOLDER --part whisper` (wavlm; llama --naming hf) writes them; heads of
    /// its LLaMA that are not 128 wide stand in a config.json beside it (heads_beside).
    BaseModels base() const;
    /// Throws FileError unless base() names exactly the parts of `loaded`, each with the same weights.
    void check_base(const BaseModels& loaded) const;

    /// Whether a prompt adapter is in it.
    bool has_prompt_adapter() const;
    /// Throws FileError unless its tensors are those that build_system would make of these configurations, by name and
    /// shape. Nothing is allocated: the sizes of a preset from a stranger's file end here. A prompt adapter that the file
    /// lacks whole may be missing if `may_lack_prompt_adapter`.
    void check_shapes(const Preset& preset, const BaseConfigs& base, bool may_lack_prompt_adapter = false) const;
    /// Copies all values. Throws FileError for a tensor that is missing, of another shape, or left over; as to
    /// may_lack_prompt_adapter see above.
    void copy_to(Parameters& parameters, bool may_lack_prompt_adapter = false) const;

private:
    const StoredTensor& at(const std::string& parameter) const;
    void expect_all_taken(size_t taken, const std::vector<std::string>& names) const;

    std::unique_ptr<Checkpoint> file_;
    bool released_ = false;
    std::map<std::string, const StoredTensor*, std::less<>> tensors_;  // by the parameter's name
};

/// The same in one call each.
BaseModels adapter_base(const std::filesystem::path& file);
void check_adapter_base(const std::filesystem::path& file, const BaseModels& loaded);
Preset adapter_preset(const std::filesystem::path& file);
void load_adapter(const std::filesystem::path& file, Parameters& parameters);

}  // namespace wavllm
