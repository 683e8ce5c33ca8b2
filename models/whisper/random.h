#pragma once
#include "models/whisper/encoder.h"

namespace wavllm {

/// An encoder of these sizes with random weights, drawn row by row into the format they are held in
/// (models/random_checkpoint.h); biases are 0, norms the identity.
WhisperEncoder random_whisper_encoder(const WhisperConfig& config, uint64_t seed, DType panels = DType::f32);

}  // namespace wavllm
