#pragma once
// The tokenizer of a GGUF file as the files that Hugging Face's folders have.

#include <filesystem>
#include <string>
#include <vector>

#include "models/checkpoint/checkpoint.h"

namespace wavllm {

/// Writes tokenizer.json and tokenizer_config.json of a GGUF's byte-level BPE ("gpt2") into the folder, or tokenizer.model
/// of SentencePiece's ("llama"): the same ids for the same text here and in transformers. Returns the names of the files.
/// Throws FileError as tokenizer_from_gguf does, and for a vocabulary that a JSON object cannot hold (a token twice, or not
/// in UTF-8).
std::vector<std::string> write_hf_tokenizer(const std::filesystem::path& folder, const Checkpoint& gguf);

}  // namespace wavllm
