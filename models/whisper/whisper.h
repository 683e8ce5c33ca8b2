#pragma once
#include "models/whisper/decoder.h"
#include "models/whisper/encoder.h"

namespace wavllm {

/// A whole Whisper, or its encoder alone, from a CTranslate2 file or a Hugging Face folder.
struct Whisper {
    WhisperEncoder encoder;
    WhisperDecoder decoder;

    const WhisperConfig& config() const {
        return encoder.config();
    }
    /// config: whisper_config(checkpoint), or given where the checkpoint does not say. Throws FileError listing missing
    /// and left-over tensors.
    static Whisper load(const Checkpoint& checkpoint, const WhisperConfig& config, DType panels = DType::f32);
    static Whisper load(const Checkpoint& checkpoint, DType panels = DType::f32) {
        return load(checkpoint, whisper_config(checkpoint), panels);
    }
    /// The encoder of such a checkpoint; its decoder is left alone.
    static WhisperEncoder load_encoder(const Checkpoint& checkpoint, const WhisperConfig& config,
                                       DType panels = DType::f32);
};

}  // namespace wavllm
