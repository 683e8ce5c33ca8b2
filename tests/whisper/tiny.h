#pragma once
// The tiny Whispers of golden/.

#include "models/whisper/whisper.h"
#include "tests/support/shared.h"

namespace wavllm::tests {

/// The encoder inside golden/model.safetensors (case.json: config.whisper).
inline WhisperConfig golden_wavllm_config() {
    return {.dim = 64, .encoder_layers = 2, .heads = 4, .encoder_ffn = 128};
}

/// golden/hf_whisper_weights.safetensors (case.json: hf_configs.hf_whisper); stored in float64.
inline WhisperConfig golden_hf_whisper_config() {
    return {.dim = 32,
            .encoder_layers = 2,
            .decoder_layers = 2,
            .heads = 4,
            .encoder_ffn = 72,
            .decoder_ffn = 72,
            .max_source_positions = 120,
            .max_target_positions = 40,
            .vocab = 150};
}
inline const Whisper& golden_hf_whisper() {
    static const Whisper model =
        Whisper::load(*open_checkpoint(shared("golden/hf_whisper_weights.safetensors")), golden_hf_whisper_config());
    return model;
}

}  // namespace wavllm::tests
