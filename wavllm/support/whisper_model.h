#pragma once
// A Whisper with its tokenizer, as a user names it.

#include <memory>

#include "data/tokenizer/tokenizer.h"
#include "models/whisper/whisper.h"

namespace wavllm {

struct WhisperModel {
    std::unique_ptr<Tokenizer> tokenizer;
    Whisper whisper;
};

/// From a name in presets/sources.json, a folder (CTranslate2 or Hugging Face) that holds tokenizer.json, or a
/// CTranslate2 file beside which it stands. Throws UsageError and FileError as find_model, open_checkpoint and
/// Whisper::load do.
WhisperModel load_whisper_model(const std::string& name_or_path, DType panels = DType::f32);

}  // namespace wavllm
