#pragma once
// config.json of a folder that a conversion writes.

#include "models/convert/convert.h"
#include "models/llama/config.h"

namespace wavllm {

/// Heads and key-value heads of a LLaMA whose file says them (GGUF, a folder with config.json); 0 and 0 elsewhere.
std::pair<int64_t, int64_t> heads_of(const Checkpoint& checkpoint);

/// Sizes of the LLaMA that is converted: from its metadata or config.json, or of a released checkpoint's part llama from its
/// shapes and options.heads. Throws FileError where they say too little, and UsageError where --heads is needed.
LlamaConfig llama_of(const Checkpoint& checkpoint, const ConvertOptions& options);

/// Of a LlamaForCausalLM of these sizes.
nlohmann::ordered_json llama_config_json(const LlamaConfig& config, bool tied);

/// A copy of the source's own, with the new dtype; for a GGUF's LLaMA in Hugging Face's naming one from its metadata; for a
/// part of a released checkpoint one from its sizes and options.heads. Null where a file says too little. Throws
/// UsageError where --heads is needed.
nlohmann::ordered_json config_json(const Checkpoint& checkpoint, const ConvertOptions& options);

/// Copies tokenizers and the like from one model folder to another; which.
std::vector<std::string> copy_side_files(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace wavllm
