#pragma once
// SentencePiece models (Kudo & Richardson 2018), as LLaMA-2 uses them: tokenizer.model.

#include <filesystem>
#include <memory>

#include "data/tokenizer/tokenizer.h"

namespace wavllm {

/// Throws FileError if the file is missing, larger than 64 MiB or no SentencePiece model.
/// Special tokens (<s>, </s>, <unk>) are never parsed from text, whatever parse_special says: prompts bring them in as
/// ids.
std::unique_ptr<Tokenizer> open_sentencepiece(const std::filesystem::path& path);

}  // namespace wavllm
