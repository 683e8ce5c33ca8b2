#pragma once
// Everything a preset names, loaded: encoder, language model, tokenizer, and a WavLLM on top.

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "data/manifest.h"
#include "data/tokenizer/tokenizer.h"
#include "models/preset/preset.h"
#include "models/wavllm/example.h"
#include "models/wavlm/encoder.h"
#include "models/whisper/encoder.h"
#include "models/whisper/features.h"

namespace wavllm {

struct System {
    Preset preset;
    std::shared_ptr<const WhisperEncoder> encoder;
    std::shared_ptr<const WavlmEncoder> wavlm{};  ///< null: a model without WavLM
    std::shared_ptr<const Llama> llama;
    std::shared_ptr<const Tokenizer> tokenizer;
    Tensor mel_filters{};
    std::unique_ptr<Wavllm> model{};
};

/// A WavLLM with a new adapter and LoRA, drawn from the preset's seed, on encoders and an LLM that are loaded. Throws
/// UsageError if there is a WavLM and the preset names none, or the other way round.
System build_system(const Preset& preset, std::shared_ptr<const WhisperEncoder> encoder,
                    std::shared_ptr<const Llama> llama, std::shared_ptr<const Tokenizer> tokenizer,
                    std::shared_ptr<const WavlmEncoder> wavlm = {});

/// The configurations of what a preset names, which are read without any weights.
struct BaseConfigs {
    WhisperConfig whisper{};
    std::optional<WavlmConfig> wavlm{};
    LlamaConfig llama{};
};
/// Hands on name and shape of every parameter that build_system would make, and makes none; `visit` may throw.
void survey_parameters(const Preset& preset, const BaseConfigs& base,
                       const std::function<void(const std::string& name, const Shape& shape)>& visit);

/// Encoder features of clips (16 kHz samples), padded as the preset says or as given. A clip's bits depend neither on the others nor
/// on the number of threads. Booked to data. Throws UsageError for a clip that is too short for WavLM.
std::vector<EncodedClip> encode_clips(const System& system, std::span<const std::span<const float>> clips);
std::vector<EncodedClip> encode_clips(const System& system, std::span<const std::span<const float>> clips,
                                      WhisperPadding padding);

/// An example without features: prompt and target tokenised, the prompt laid out for speech or not.
SpeechExample text_example(const System& system, const std::string& id, bool with_speech, const std::string& prompt,
                           std::optional<std::string_view> target = std::nullopt);
/// One example from samples (none: text only), its features in memory.
SpeechExample make_example(const System& system, const std::string& id, std::span<const float> samples,
                           const std::string& prompt, std::optional<std::string_view> target = std::nullopt);

}  // namespace wavllm
