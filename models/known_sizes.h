#pragma once
// Sizes of published models by name, for runs with random weights: what a checkpoint would otherwise say.

#include "models/llama/config.h"
#include "models/wavlm/config.h"
#include "models/whisper/config.h"

namespace wavllm {

/// "llama-2-7b-chat" (Touvron et al. 2023), "tinyllama-1.1b" (Zhang et al. 2024), "smollm2-135m"; "llama-micro", a few million
/// parameters for the bytes of a text. Throws UsageError listing the
/// names for another one.
LlamaConfig known_llama(const std::string& name);
/// "whisper-micro" (ours, 1 M), "whisper-tiny", "-base", "-small", "-medium", "-large-v2" (Radford et al. 2022, table 1); without a decoder.
WhisperConfig known_whisper_encoder(const std::string& name);
/// "wavlm-micro" (ours, 1 M), "wavlm-base", "wavlm-large" (Chen et al. 2022, section IV-B).
WavlmConfig known_wavlm(const std::string& name);

/// Parameters, counted as the published files have them.
int64_t parameters_of(const LlamaConfig& config, bool tied = false);
int64_t parameters_of_encoder(const WhisperConfig& config);
int64_t parameters_of_encoder(const WavlmConfig& config);

}  // namespace wavllm
