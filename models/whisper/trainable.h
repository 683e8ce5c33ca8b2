#pragma once
// A Whisper whose every weight is trained: for pre-training. Whisper (whisper.h) is the same model frozen, with packed weights
// and a cache.

#include "models/parameter.h"
#include "models/whisper/config.h"

namespace wavllm {

class TrainableWhisper {
public:
    /// New weights from a seed, the output matrix tied to the tokens' embedding. config has a decoder.
    TrainableWhisper(const WhisperConfig& config, uint64_t seed);

    const WhisperConfig& config() const {
        return config_;
    }
    /// mel: [frames, mels], chunks end to end; borders: i64 [chunks + 1] in mel frames. Result: [T, dim] with
    /// frame_borders(borders), what WhisperEncoder::forward gives. Throws ShapeError for a chunk longer than the positions.
    Tensor encode(const Tensor& mel, const Tensor& borders) const;
    Tensor frame_borders(const Tensor& mel_borders) const;
    /// ids: i32 [N], one sequence a chunk, end to end with borders i64 [chunks + 1]; encoded, frame_borders: what they hear. The
    /// hidden states after the final norm, [N, dim]; the logits are linear(of them, embedding()).
    Tensor decode(const Tensor& ids, const Tensor& borders, const Tensor& encoded, const Tensor& frame_borders) const;
    /// [vocab, dim].
    const Tensor& embedding() const {
        return embedding_;
    }
    /// By their names in a Hugging Face checkpoint, group "whisper".
    const Parameters& parameters() const {
        return parameters_;
    }
    /// The parameters and the encoder's positions, which are not trained: all that such a checkpoint holds.
    std::vector<std::pair<std::string, Tensor>> tensors() const;

private:
    struct Affine {
        Tensor weight, bias;
        Tensor operator()(const Tensor& x) const;
    };
    struct Norm {
        Tensor weight, bias;
    };
    struct Attention {
        Norm norm;
        Affine q, k, v, out;
    };
    struct Block {
        Attention self, cross;  // cross: in the decoder
        Norm ffn_norm;
        Affine up, down;
    };
    class Maker;
    Tensor norm(const Norm& n, const Tensor& x) const;
    Tensor attend(const Attention& a, const Tensor& x, const Tensor& memory, const Tensor& borders,
                  const Tensor& memory_borders, bool causal) const;
    Tensor feed_forward(const Block& b, const Tensor& x) const;

    WhisperConfig config_;
    Affine conv1_, conv2_;
    Tensor positions_, embedding_, token_positions_;
    std::vector<Block> encoder_, decoder_;
    Norm encoder_norm_, decoder_norm_;
    Parameters parameters_;
};

/// Row t, column k < D/2: sin(t * 10000^(-k / (D/2 - 1))), and the cosines behind: the encoder's positions (Radford et al. 2022,
/// 2.2; Vaswani et al. 2017). [length, D] f32; D even and at least 4.
Tensor whisper_sinusoids(int64_t length, int64_t dim);

/// config.json of a Hugging Face folder for these sizes.
nlohmann::ordered_json config_json(const WhisperConfig& config);

}  // namespace wavllm
