#pragma once
// From encoder features to the rows that stand between left and right prompt: WavLLM's one or two modality adapters and
// what joins them, or the connector of a system that the paper compares itself with.

#include <optional>
#include <span>

#include "models/adapter/speech_adapter.h"
#include "models/connector/pooled.h"
#include "models/connector/qformer.h"

namespace wavllm {

struct BridgeConfig {
    AdapterConfig semantic{};                 ///< on the Whisper encoder
    std::optional<AdapterConfig> acoustic{};  ///< on WavLM; absent: no WavLM branch
    int64_t acoustic_layers = 13;             ///< hidden states of WavLM that are mixed
    int64_t llm_dim = 576;
    /// RMS norm of the result to this value (the RMS of the LLM's embeddings); 0: none, as in the paper. An addition of
    /// the `small` preset: without it a CTC warm start drives the outputs far from what the LLM knows.
    double output_norm = 0;
    /// At most one of these; it stands where the modality adapters would, and `semantic` and `acoustic` are not read.
    std::optional<QFormerConfig> qformer{};  ///< SALMONN; with acoustic_in the layers of WavLM are mixed as above
    std::optional<PooledConfig> pooled{};    ///< Qwen-Audio
};

class SpeechBridge {
public:
    SpeechBridge() = default;
    SpeechBridge(const BridgeConfig& config, uint64_t seed);
    /// Names of the released checkpoint: audio_encoder., wavlm_encoder., wavlm_audio_proj, audio_proj.
    static SpeechBridge load(const Weights& weights, const BridgeConfig& config);

    /// semantic: [T, C] encoder features, sequences end to end; acoustic: [layers, T2, C2] hidden states of WavLM with
    /// their own borders, or undefined. Both branches are cut to the shorter, joined [semantic; acoustic] and
    /// projected. Returns [T'', llm_dim] and sets `borders`. Throws ShapeError for hidden states that are missing or
    /// that this connector has no use for.
    /// clips: i64 [clips + 1] in sequences of `semantic`, where Whisper heard a clip in several chunks: each is adapted
    /// (or cut in windows) alone, then those of a clip are one sequence, beside what WavLM made of the whole clip; a
    /// Q-Former that hears both has them side by side before it cuts windows. Undefined: one each.
    Tensor forward(const Tensor& semantic, Tensor& borders, const Tensor& acoustic = {},
                   const Tensor& acoustic_borders = {}, const Observer* observer = nullptr,
                   const Tensor& clips = {}) const;
    Parameters parameters() const;
    /// Rows of speech that come from t encoder frames of one chunk.
    int64_t rows(int64_t t) const;
    /// Of a clip: from the frames of each of its chunks, and so many of WavLM beside them (0: none).
    int64_t rows(std::span<const int64_t> chunks, int64_t acoustic) const;

private:
    template <class Make>
    void make(const BridgeConfig& config, Make&& parameter);
    Tensor adapted(const Tensor& semantic, Tensor& borders, const Tensor& acoustic, const Tensor& acoustic_borders,
                   const Observer* observer, const Tensor& clips) const;
    /// What a connector of another system makes of them.
    Tensor read(const Tensor& semantic, Tensor& borders, const Tensor& acoustic, const Tensor& acoustic_borders,
                const Observer* observer, const Tensor& clips) const;
    void set_output_norm();

    BridgeConfig config_;
    SpeechAdapter semantic_;
    std::optional<SpeechAdapter> acoustic_;
    std::optional<QFormer> qformer_;
    std::optional<PooledConnector> pooled_;
    Tensor output_weights_;     // [layers], how much of each WavLM layer
    Tensor projection_, bias_;  // joint projection; undefined where the projector already gives llm_dim
    Tensor output_scale_;       // [llm_dim] constant
};

}  // namespace wavllm
