#pragma once
// From encoder features to the rows that stand between left and right prompt: one or two modality adapters and what
// joins them.

#include <optional>

#include "models/adapter/speech_adapter.h"

namespace wavllm {

struct BridgeConfig {
    AdapterConfig semantic{};                 ///< on the Whisper encoder
    std::optional<AdapterConfig> acoustic{};  ///< on WavLM; absent: no WavLM branch
    int64_t acoustic_layers = 13;             ///< hidden states of WavLM that are mixed
    int64_t llm_dim = 576;
    /// RMS norm of the result to this value (the RMS of the LLM's embeddings); 0: none, as in the paper. An addition of
    /// the `small` preset: without it a CTC warm start drives the outputs far from what the LLM knows.
    double output_norm = 0;
};

class SpeechBridge {
public:
    SpeechBridge() = default;
    SpeechBridge(const BridgeConfig& config, uint64_t seed);
    /// Names of the released checkpoint: audio_encoder., wavlm_encoder., wavlm_audio_proj, audio_proj.
    static SpeechBridge load(const Weights& weights, const BridgeConfig& config);

    /// semantic: [T, C] encoder features, sequences end to end; acoustic: [layers, T2, C2] hidden states of WavLM with
    /// their own borders, or undefined. Both branches are cut to the shorter, joined [semantic; acoustic] and
    /// projected. Returns [T'', llm_dim] and sets `borders`.
    /// clips: i64 [clips + 1] in sequences of `semantic`, where Whisper heard a clip in several chunks: each is adapted
    /// alone, then those of a clip are one sequence, beside what WavLM made of the whole clip. Undefined: one each.
    Tensor forward(const Tensor& semantic, Tensor& borders, const Tensor& acoustic = {},
                   const Tensor& acoustic_borders = {}, const Observer* observer = nullptr,
                   const Tensor& clips = {}) const;
    Parameters parameters() const;

private:
    Tensor join(const Tensor& semantic, Tensor& borders, const Tensor& acoustic, const Tensor& acoustic_borders) const;
    void set_output_norm();

    BridgeConfig config_;
    SpeechAdapter semantic_;
    std::optional<SpeechAdapter> acoustic_;
    Tensor output_weights_;     // [layers], how much of each WavLM layer
    Tensor projection_, bias_;  // joint projection; undefined where the projector already gives llm_dim
    Tensor output_scale_;       // [llm_dim] constant
};

}  // namespace wavllm
