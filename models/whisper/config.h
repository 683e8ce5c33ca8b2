#pragma once
#include "models/checkpoint/checkpoint.h"

namespace wavllm {

/// Sizes of a Whisper (Radford et al. 2022, table 1).
struct WhisperConfig {
    int64_t dim = 0;
    int64_t encoder_layers = 0;
    int64_t decoder_layers = 0;  ///< 0: there is no decoder, and vocab means nothing
    int64_t heads = 0;
    int64_t encoder_ffn = 0, decoder_ffn = 0;
    int64_t mels = 80;
    int64_t max_source_positions = 1500;  ///< encoder frames, 20 ms each
    int64_t max_target_positions = 448;   ///< tokens, prompt included
    int64_t vocab = 0;
    double norm_eps = 1e-5;

    int64_t head_dim() const {
        return dim / heads;
    }
    /// The English-only models have one token less.
    bool multilingual() const {
        return vocab >= 51865;
    }
    /// Throws UsageError naming the value that makes no sense.
    void check() const;
};

/// From a CTranslate2 file's settings and shapes, or from the config.json of a Hugging Face folder. Throws FileError
/// naming what is missing.
WhisperConfig whisper_config(const Checkpoint& checkpoint);

}  // namespace wavllm
