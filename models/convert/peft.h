#pragma once
// LoRA in the folder layout of Hugging Face's PEFT: adapter_config.json and adapter_model.safetensors. PEFT stores
// lora_A.weight [rank, in] and lora_B.weight [out, rank], the transposes of ours, and works on Hugging Face's LLaMA, whose
// rows of q and k stand in another order than those of Meta and GGUF.

#include <optional>

#include "models/llama/config.h"
#include "models/lora/lora.h"

namespace wavllm {

/// A LoRA as a file has it, in our names ("layers.N.attention.wq_lora_A") and f32.
struct LoraFile {
    LoraConfig config;
    std::vector<std::pair<std::string, Tensor>> tensors;  ///< layer by layer, q, k, v, o as config.targets; A, B
};

/// The LoRA tensors of a checkpoint of ours (an adapter.safetensors, a released checkpoint): of the projections `targets`,
/// or where a preset does not say them of those that the first layer has. Throws FileError if there are none, one of them
/// is missing or more are there, or they do not fit `llama`. alpha and dropout are the caller's: such files do not say them
/// in one place.
LoraFile lora_of_checkpoint(const Checkpoint& checkpoint, const LlamaConfig& llama, double alpha, double dropout,
                            std::optional<std::array<bool, 4>> targets = {});
/// Whether a checkpoint of ours names a tensor of the prompt adapter so.
bool is_prompt_adapter_name(std::string_view name);

/// Writes the folder. `base` is the name that PEFT will look for (base_model_name_or_path). Throws UsageError if an
/// adapter is there already.
void write_peft_folder(const std::filesystem::path& folder, const LoraFile& lora, const LlamaConfig& llama,
                       const std::string& base);

/// Reads such a folder for a LLaMA of ours. A projection that the folder leaves out gets zeros, which change nothing.
/// Throws FileError, naming file and key, for what would compute something else than our LoRA (bias, DoRA, a rank or alpha
/// of a layer's own, modules_to_save, fan_in_fan_out), other targets than the four projections, and shapes that do not
/// fit.
LoraFile read_peft_folder(const std::filesystem::path& folder, const LlamaConfig& llama);

}  // namespace wavllm
