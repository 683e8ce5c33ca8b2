#pragma once
// What `wavllm transcribe` listens with: Whisper alone, or a WavLLM that was trained here.

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"
#include "wavllm/support/decode_flags.h"

namespace wavllm {

struct TranscriberOptions {
    std::string model;    ///< of Whisper; empty: the adapter
    std::string adapter;  ///< file; empty: the one that ships with the project
    std::string head;     ///< of the adapter: llm, ctc, joint; empty: joint if it has a CTC head and prompt is empty
    std::string prompt;   ///< instruction for the adapter; empty: the one it was trained with
    std::string language = "en";  ///< Whisper's code
    std::string panels = "auto";  ///< of frozen weights
    int64_t batch = 8;            ///< chunks that Whisper decodes together
    /// Of a chunk. Not given: 224, or what decode.compat says. Given it counts the answer's tokens alone, whatever a
    /// preset or decode.compat counts.
    std::optional<int64_t> max_tokens{};
    DecodeFlags decode{};  ///< of the adapter
};

struct Transcription {
    std::string text;      ///< without space at its ends
    bool complete = true;  ///< false: a chunk reached the limit and was cut
    int64_t limit = 0;     ///< tokens that the chunk might have, of several that were cut the last one's
};

class Transcriber {
public:
    /// Text of a clip as it comes, in order; not trimmed.
    using Stream = std::function<void(std::string_view)>;

    virtual ~Transcriber() = default;
    /// Clips at kSampleRate, none empty. stream: of a single clip only.
    virtual std::vector<Transcription> transcribe(std::span<const std::span<const float>> clips,
                                                  const Stream& stream = {}) const = 0;
    /// "Whisper (whisper-base)", "WavLLM (adapters/small/adapter.safetensors, joint)"
    virtual std::string name() const = 0;
};

/// adapters/small/adapter.safetensors of the project.
std::filesystem::path shipped_adapter();

/// Throws UsageError for options that do not go together, and what loading throws.
std::unique_ptr<Transcriber> make_transcriber(const TranscriberOptions& options);

}  // namespace wavllm
