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
    /// This trainable encoder as it is now, packed, as load() would give it.
    WavlmEncoder frozen(DType panels = DType::f32) const;

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

    // forward() in its parts. With trainable parameters they are differentiable, and keep whole activations; pre-training
    // puts mask_embedding() between the second and the third.
    /// [T, conv_dim].
    Tensor features(const Tensor& samples, const Tensor& borders, const Observer* observer = nullptr) const;
    /// [T, dim].
    Tensor project(const Tensor& features, const Observer* observer = nullptr) const;
    /// x: [T, dim] with borders in frames; gives the hidden state after that many layers, of all if it is negative.
    Tensor encode(const Tensor& x, const Tensor& borders, int64_t layers = -1,
                  const Observer* observer = nullptr) const;
    /// Takes the place of masked frames, [dim]. Undefined where frozen.
    const Tensor& mask_embedding() const {
        return mask_embedding_;
    }

    /// By their names in a checkpoint, group "wavlm"; none where frozen. The positional convolution's weight is trained
    /// without weight norm, as "encoder.pos_conv_embed.conv.weight".
    const Parameters& parameters() const {
        return parameters_;
    }
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
        Tensor weight, bias;
        Norm norm;
        Tensor operator()(const Tensor& x, const Tensor& borders, ConvGeometry geometry) const;
    };
    struct Layer {
        Affine qkv, q, k, v;  // one product where frozen, three where trainable
        Affine out, gate, up, down;
        Tensor gate_constant;  // [1, heads, 1, 1]
        Norm attention_norm, final_norm;
    };
    /// What every layer of a call shares.
    struct Call {
        Tensor borders, by_distance, whole, two;
        const Observer* observer;
    };
    class Source;
    void make(Source& source);
    Tensor norm(const Norm& n, const Tensor& x) const;
    Conv fold_group_norm(const Tensor& samples) const;
    Tensor clip_features(const Tensor& samples, const Observer* observer) const;
    template <class Each>
    void run_layers(const Tensor& x, const Tensor& borders, int64_t layers, const Observer* observer,
                    Each&& each) const;
    Tensor block(const Layer& l, const Tensor& x, const Call& call) const;
    Tensor attend(const Layer& l, const Tensor& x, const Call& call) const;
    Tensor gate(const Layer& l, const Tensor& x, const Call& call) const;

    WavlmConfig config_;
    bool trainable_ = false;
    std::vector<Conv> convs_;  // where frozen, the first of base is on the CPU: it is packed clip by clip
    Norm features_norm_, encoder_norm_;
    Affine projection_;
    Conv positions_;
    std::vector<Layer> layers_;
    Tensor distance_table_;                  // [buckets, heads]
    Tensor distance_buckets_, by_distance_;  // i32 bucket of every distance; the table's rows by distance, where frozen
    PackedWeight fours_;                     // [2, 8]: adds up what the gates are made of, four and four
    Tensor mask_embedding_;
    Parameters parameters_;
};

/// From a Hugging Face folder (config.json beside the weights): WavLMModel, or a model around one, of which nothing else is
/// read. Throws FileError listing missing and left-over tensors.
WavlmEncoder load_wavlm(const Checkpoint& checkpoint, DType panels = DType::f32);

}  // namespace wavllm
