#pragma once
// The tokenizer inside a GGUF file.

#include <memory>

#include "data/tokenizer/sentencepiece_model.h"
#include "data/tokenizer/tokenizer.h"
#include "models/checkpoint/checkpoint.h"

namespace wavllm {

/// Built from the metadata tokenizer.ggml.* of a byte-level BPE ("gpt2") or of SentencePiece's BPE as LLaMA-2 has it
/// ("llama"). Throws FileError if they are missing, of the wrong type, or of another kind of tokenizer.
std::unique_ptr<Tokenizer> tokenizer_from_gguf(const Checkpoint& checkpoint);

/// The SentencePiece model that a GGUF of the kind "llama" was made from, as far as it says. Throws FileError.
SentencePieceModel sentencepiece_of_gguf(const Checkpoint& checkpoint);

}  // namespace wavllm
