#pragma once
// Sizes of published models by name, for runs with random weights: what a checkpoint would otherwise say.

#include "models/llama/config.h"
#include "models/whisper/config.h"

namespace wavllm {

/// "llama-2-7b-chat" (Touvron et al. 2023), "tinyllama-1.1b" (Zhang et al. 2024), "smollm2-135m". Throws UsageError listing the
/// names for another one.
LlamaConfig known_llama(const std::string& name);
/// "whisper-tiny", "-base", "-small", "-medium", "-large-v2" (Radford et al. 2022, table 1); without a decoder.
WhisperConfig known_whisper_encoder(const std::string& name);

/// Parameters, counted as the published files have them.
int64_t parameters_of(const LlamaConfig& config, bool tied = false);
int64_t parameters_of_encoder(const WhisperConfig& config);
/// WavLM-base: seven convolutions, 12 layers of 768 with gated relative position bias.
int64_t parameters_of_wavlm_base();

}  // namespace wavllm
