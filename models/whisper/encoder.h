#pragma once
// Whisper's encoder (Radford et al. 2022, 2.2), frozen: two convolutions, stored sinusoidal positions, pre-norm
// transformer blocks with full attention, a final norm. There is no attention mask: every frame of a chunk sees all of
// its chunk, padding included.

#include "kernels/conv1d/conv1d.h"
#include "models/observer.h"
#include "models/whisper/config.h"
#include "models/whisper/layers.h"

namespace wavllm {

class WhisperEncoder {
public:
    /// weights stands at the encoder: under("encoder/") of a CTranslate2 file, under("model.encoder.") of Hugging
    /// Face's model, under("audio_encoder.model.") of a WavLLM. panels: f32, or bf16 for half the memory.
    static WhisperEncoder load(const Weights& weights, const WhisperConfig& config, DType panels = DType::f32);

    const WhisperConfig& config() const {
        return config_;
    }
    Device device() const {
        return conv1_bias_.device();
    }
    /// mel: [frames, mels] f32, log-mel of chunks end to end (any mix of lengths, any clips); borders: i64 [chunks+1]
    /// in mel frames. Result: [T, dim] with frame_borders(borders). A chunk's bits do not depend on the others.
    /// Observed: "conv1" (before GELU), "embedded" (the blocks' input), "layer0", ..., "encoded".
    /// Throws ShapeError for a chunk without frames or longer than the positions.
    Tensor forward(const Tensor& mel, const Tensor& borders, const Observer* observer = nullptr) const;
    /// Borders of forward()'s result: (frames - 1) / 2 + 1 rows a chunk.
    Tensor frame_borders(const Tensor& mel_borders) const;
    /// SHA-256 over the configuration and all weights as they are held (so also over their dtype): what is derived from
    /// one encoder's results is not used with another.
    std::string fingerprint() const;

private:
    struct Block {
        WhisperNorm attention_norm, ffn_norm;
        WhisperLinear qkv, out;
        WhisperFeedForward ffn;
    };
    Tensor block(const Block& b, const Tensor& x, const Tensor& borders) const;

    WhisperConfig config_;
    PackedConv conv1_, conv2_;
    Tensor conv1_bias_, conv2_bias_, positions_;
    std::vector<Block> blocks_;
    WhisperNorm norm_;
};

}  // namespace wavllm
