#pragma once
// Speech to text with Whisper alone (the ears of the cascade): greedy decoding as Whisper itself does it.

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "models/whisper/whisper.h"

namespace wavllm {

struct TranscribeOptions {
    std::string language = "en";  ///< Whisper's two-letter code
    int64_t max_tokens = 224;     ///< a 30 s chunk at most; half of Whisper's positions is its own limit
    int64_t batch = 8;            ///< chunks decoded together; the result is the same for any number
    /// Called with the clip's index and the text that came to it, in order within a clip.
    std::function<void(size_t clip, std::string_view text)> stream = {};
};

struct Transcript {
    std::vector<int32_t> ids;  ///< of all chunks, without prompt and end token
    std::string text;          ///< the chunks' texts joined, as the tokens say: usually with a space in front
    bool complete = true;      ///< false if a chunk reached max_tokens before its end token
};

/// Clips (f32 samples at 16 kHz) in chunks of 30 s, each on its own: prompt <|startoftranscript|><|language|>
/// <|transcribe|><|notimestamps|> (English-only models: without language and task), then the likeliest token each time,
/// none suppressed, until <|endoftext|>. A clip's result does not depend on the other clips.
/// Throws UsageError for an option out of range, a language that the model does not know, or a clip without samples;
/// FileError if tokenizer and model do not belong together.
std::vector<Transcript> transcribe(const Whisper& model, const Tokenizer& tokenizer,
                                   std::span<const std::span<const float>> clips,
                                   const TranscribeOptions& options = {});
Transcript transcribe(const Whisper& model, const Tokenizer& tokenizer, std::span<const float> clip,
                      const TranscribeOptions& options = {});

/// What a transcript begins with. Throws as transcribe().
std::vector<int32_t> whisper_prompt(const WhisperConfig& config, const Tokenizer& tokenizer,
                                    const std::string& language);

}  // namespace wavllm
