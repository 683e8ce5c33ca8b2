#pragma once
#include "models/wavlm/encoder.h"

namespace wavllm {

/// An encoder of these sizes with random weights, as random_whisper_encoder makes one; gate constants are 1.
WavlmEncoder random_wavlm_encoder(const WavlmConfig& config, uint64_t seed, DType panels = DType::f32);

}  // namespace wavllm
