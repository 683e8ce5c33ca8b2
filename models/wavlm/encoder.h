#pragma once
// WavLM (Chen et al. 2022): convolutions over the waveform, a convolution for positions, transformer layers whose
// attention has a gated relative position bias. Frozen, as WavLLM's acoustic encoder, or with trainable parameters, for
// pre-training.

#include "autograd/ops/attention.h"
#include "kernels/conv1d/conv1d.h"
#include "models/observer.h"
#include "models/parameter.h"
#include "models/wavlm/config.h"
#include "models/weights.h"

namespace wavllm {

class WavlmEncoder {
public:
    WavlmEncoder() = default;
    /// Frozen. weights stands at the encoder, with the names of Hugging Face's WavLMModel: the root of its checkpoint, or
    /// under("wavlm_encoder.model.") of a WavLLM. The positional convolution's weight norm is folded; its names may be
    /// weight_g and weight_v, parametrizations.weight.original0 and 1, or weight alone. panels: f32, or bf16 for half
    /// the memory (the products are then in bf16, but for attention's).
    static WavlmEncoder load(const Weights& weights, const WavlmConfig& config, DType panels = DType::f32);
    /// All parameters trainable, in f32.
    static WavlmEncoder load_trainable(const Weights& weights, const WavlmConfig& config);
    /// New trainable parameters.
    WavlmEncoder(const WavlmConfig& config, uint64_t seed);

    const WavlmConfig& config() const {
        return config_;
    }
    Device device() const {
        return encoder_norm_.weight.device();
    }
    /// Waveforms to all hidden states, [layers + 1, T, dim]: 0 is the first layer's input, then every layer's output. What
    /// SpeechBridge::forward takes as `acoustic`, with frame_borders(borders).
    /// samples: [N] f32 on the CPU, 16 kHz, clips end to end, of any length; borders: i64 [clips + 1] in samples. A clip's
    /// bits do not depend on the others. Memory beyond the result grows with T by the widest layer's activations: the
    /// convolutions run over a few seconds at a time, and scores are never whole. Not differentiable: see encode().
    /// Observed: "conv0" ... (after norm and GELU), "features", "normed_features", "feature_projection", "pos_conv" (after
    /// GELU, before it is added), "gate_projection" (of layer 0, [T, heads, 8]), "hidden0", "hidden1", ...
    /// Throws ShapeError for a clip too short for one frame.
    Tensor forward(const Tensor& samples, const Tensor& borders, const Observer* observer = nullptr) const;
    /// Borders in frames: config().frames(n) a clip.
    Tensor frame_borders(const Tensor& sample_borders) const;

    // forward() in its parts. With trainable parameters all are differentiable; pre-training puts mask_embedding()
    // between the second and the third.
    Tensor features(const Tensor& samples, const Tensor& borders,
                    const Observer* observer = nullptr) const;                         ///< [T, conv_dim]
    Tensor project(const Tensor& features, const Observer* observer = nullptr) const;  ///< [T, dim]
    /// x: [T, dim] with borders in frames; gives layers + 1 tensors like x.
    std::vector<Tensor> encode(const Tensor& x, const Tensor& borders, const Observer* observer = nullptr) const;
    /// Takes the place of masked frames, [dim]. Undefined where frozen.
    const Tensor& mask_embedding() const {
        return mask_embedding_;
    }

    /// By their names in a checkpoint, group "wavlm"; none where frozen. Those of the positional convolution are
    /// "encoder.pos_conv_embed.conv.weight" and bias: the folded weight is trained.
    Parameters parameters() const;
    /// SHA-256 over the configuration and all weights as they are held: what is derived from one encoder's results is not
    /// used with another.
    std::string fingerprint() const;

private:
    struct Norm {
        Tensor weight, bias;
    };
    /// y = W x + b: packed where frozen, a tensor where trainable.
    struct Affine {
        PackedWeight packed;
        Tensor weight, bias;
        Tensor operator()(const Tensor& x) const;
    };
    struct Conv {
        PackedConv packed;
        Tensor weight,
            bias;  // weight where trainable, and of the first convolution of base, which is packed clip by clip
        Norm norm;
    };
    struct Layer {
        Affine qkv, q, k, v, out, gate, up, down;  // qkv where frozen; q, k, v where trainable
        Tensor gate_constant;                      // [1, heads]
        Norm attention_norm, final_norm;
    };
    template <class Source>
    void make(Source&& source);
    Tensor norm(const Norm& n, const Tensor& x) const;
    Tensor clip_features(const Tensor& samples, const Observer* observer) const;
    Tensor block(const Layer& l, const Tensor& x, const Tensor& borders, const Tensor& by_distance,
                 const Observer* observer) const;
    Tensor attend(const Layer& l, const Tensor& x, const Tensor& borders, const Tensor& by_distance,
                  const Observer* observer) const;
    Tensor gate(const Layer& l, const Tensor& x, const Observer* observer) const;

    WavlmConfig config_;
    bool trainable_ = false;
    std::vector<Conv> convs_;
    Norm features_norm_, encoder_norm_;
    Affine projection_;
    Conv positions_;
    std::vector<Layer> layers_;
    Tensor distance_table_;  // [buckets, heads]
    Tensor distance_buckets_,
        by_distance_;  // bucket of every distance, i32; the table's rows by distance, where frozen
    Tensor fours_;     // [2, 8]: adds up the gate's projections, four and four
    Tensor mask_embedding_;
};

}  // namespace wavllm
