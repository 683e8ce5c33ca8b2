#pragma once
#include <filesystem>
#include <memory>

#include "data/tokenizer/tokenizer.h"

namespace wavllm {

/// The tokenizer.json in this folder, or in the folder of this file. Throws FileError if there is none.
std::filesystem::path tokenizer_beside(const std::filesystem::path& model);

/// The tokenizer of a model in this folder, or of this file: the SentencePiece model tokenizer.model beside it, as LLaMA-2
/// has it, or else tokenizer.json. Throws FileError if there is neither.
std::unique_ptr<Tokenizer> open_tokenizer_beside(const std::filesystem::path& model);

}  // namespace wavllm
