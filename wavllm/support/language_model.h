#pragma once
// A language model with its tokenizer, as a user names it.

#include <memory>

#include "data/tokenizer/tokenizer.h"
#include "models/llama/llama.h"

namespace wavllm {

struct LanguageModel {
    std::unique_ptr<Tokenizer> tokenizer;
    Llama llama;
};

/// That of a GGUF file or a Hugging Face folder.
std::unique_ptr<Tokenizer> load_tokenizer(const Checkpoint& checkpoint);

/// From a name in presets/sources.json, a GGUF file, or a Hugging Face folder with its tokenizer.
/// norm_eps: of the RMS norms, 0: the checkpoint's. Throws UsageError
/// and FileError as find_model, open_checkpoint and Llama::load do.
LanguageModel load_language_model(const std::string& name_or_path, DType panels = DType::f32, double norm_eps = 0);

}  // namespace wavllm
