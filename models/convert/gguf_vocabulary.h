#pragma once
// A tokenizer as GGUF's metadata (tokenizer.ggml.*). models/checkpoint/gguf_tokenizer.h reads it.

#include "models/checkpoint/gguf_writer.h"

namespace wavllm {

/// `where`: a tokenizer.model (SentencePiece), a tokenizer.json (byte-level BPE), a GGUF file, or a folder with one of the
/// first two, in that order. tokenizer_config.json and added_tokens.json beside it are read too; what they leave open
/// `config` (config.json, may be null) says. A vocabulary smaller than the embedding's `vocab` rows gets unused tokens
/// "[PADn]". Throws FileError for a vocabulary that is larger, that is missing, or that GGUF cannot say: unigram, or one that
/// normalises its text.
void put_vocabulary(GgufMetadata& metadata, const std::filesystem::path& where, int64_t vocab,
                    const nlohmann::json& config);

}  // namespace wavllm
