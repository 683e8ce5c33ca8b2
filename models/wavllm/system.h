#pragma once
// Everything a preset names, loaded: encoder, language model, tokenizer, and a WavLLM on top.

#include <filesystem>
#include <memory>
#include <optional>

#include "data/manifest.h"
#include "data/tokenizer/tokenizer.h"
#include "models/preset/preset.h"
#include "models/wavllm/example.h"
#include "models/whisper/encoder.h"

namespace wavllm {

struct System {
    Preset preset;
    std::shared_ptr<const WhisperEncoder> encoder;
    std::shared_ptr<const Llama> llama;
    std::shared_ptr<const Tokenizer> tokenizer;
    Tensor mel_filters{};
    std::unique_ptr<Wavllm> model{};
};

/// A WavLLM with a new adapter and LoRA, drawn from the preset's seed, on an encoder and an LLM that are loaded.
System build_system(const Preset& preset, std::shared_ptr<const WhisperEncoder> encoder,
                    std::shared_ptr<const Llama> llama, std::shared_ptr<const Tokenizer> tokenizer);

struct EncodedClip {
    Tensor features;                  ///< [T, C], cut to the clip's own frames, chunks end to end
    std::vector<int64_t> chunk_rows;  ///< rows of each chunk
};

/// Encoder features of clips (16 kHz samples), padded as the preset says. Booked to data.
std::vector<EncodedClip> encode_clips(const System& system, std::span<const std::span<const float>> clips);

/// Reads a manifest into examples: audio decoded, resampled and encoded, texts tokenised. Rows without speech get no
/// features. Throws FileError naming row and file for whatever is wrong with one. progress: clips done, clips in all.
std::vector<SpeechExample> load_examples(const System& system, const std::filesystem::path& manifest,
                                         const std::function<void(size_t, size_t)>& progress = {});
/// One example from samples (none: text only).
SpeechExample make_example(const System& system, const std::string& id, std::span<const float> samples,
                           const std::string& prompt, std::optional<std::string_view> target = std::nullopt);

}  // namespace wavllm
