#pragma once
// What WavLM is pre-trained to do (Chen et al. 2022, sections III and IV): hear speech in which spans of frames are hidden and
// another speaker or noise is mixed in, and say of every hidden frame which cluster the clean speech belongs to.

#include <functional>
#include <span>

#include "models/wavlm/encoder.h"

namespace wavllm {

/// Random choices of a clip in a step. Everything below is a function of (seed, step, clip) alone, whatever the batch.
struct ClipDraw {
    uint64_t seed = 1;
    uint32_t step = 0;
    int64_t clip = 0;  ///< in [0, 2^22)
};

struct SpanConfig {
    double start = 0.08;  ///< of a frame, to begin a span (HuBERT's): some 57 % of all frames are hidden
    int64_t length = 10;  ///< frames
};

/// Frames that are hidden, in rising order. Spans overlap; the last may be cut. At least one span, but of two frames or more
/// one is heard always: from a batch in which nothing is heard the front end would learn nothing.
std::vector<int64_t> masked_frames(int64_t frames, const SpanConfig& config, const ClipDraw& draw);

struct MixConfig {
    double share = 0.2;        ///< of clips that something is mixed into
    double noise_share = 0.1;  ///< of these, how many get white noise, the others a part of another clip
};

/// Chen et al.'s algorithm 1. The part is at most half as long as the clip and begins anywhere; the energy of the clip over
/// that of the whole other clip, so that a pause in it stays one, is uniform in [-5, 5] dB, for noise in [-5, 20]. others(i) for i in [0, count) are the clips to choose from, of which
/// `draw.clip` is this one.
void mix_utterance(std::span<float> samples, const MixConfig& config, const ClipDraw& draw, int64_t count,
                   const std::function<std::span<const float>(int64_t)>& others);

/// As if a share of the clips had been recorded elsewhere (data/synth/effects.h): half of these in a room, half with noise, one
/// in three through a narrow band, each at another level. The clusters stay those of the recording as it is.
void alter_utterance(std::vector<float>& samples, double share, const ClipDraw& draw);

/// Logits of frame x over clusters k: cos(W x + b, e_k) / temperature (Hsu et al. 2021, HuBERT, eq. 3).
class PredictionHead {
public:
    PredictionHead(int64_t dim, int64_t code_dim, int64_t clusters, uint64_t seed);

    struct Result {
        Tensor loss;          ///< [1]: cross-entropy, mean over x's rows
        int64_t correct = 0;  ///< rows whose largest logit is the target's
    };
    /// x: [N, dim], the last hidden state of hidden frames; targets: i32 [N].
    Result loss(const Tensor& x, const Tensor& targets) const;
    /// "prediction.proj.weight", "prediction.proj.bias", "prediction.codes" [K, code_dim]; group "wavlm".
    const Parameters& parameters() const {
        return parameters_;
    }

    static constexpr float kTemperature = 0.1f;

private:
    Tensor weight_, bias_, codes_;
    Tensor unit_, unit_over_temperature_;  // weights that make of rms_norm a division by the length
    Parameters parameters_;
};

/// Clips ready for a step.
struct MaskedBatch {
    Tensor samples, borders;  ///< as WavlmEncoder::features takes them
    Tensor plan;              ///< i32 [T] for splice_rows: a row of the projected features, or -1, the mask embedding
    Tensor masked;            ///< i32 [N]: the rows that are hidden
    Tensor targets;           ///< i32 [N]: their clusters
    Tensor visible, visible_targets;  ///< the others, likewise
};

/// One clip of a batch: its samples, the cluster of each of its frames, and what is drawn for it.
struct MaskedClip {
    std::vector<float> samples;
    std::span<const int32_t> targets;
    ClipDraw draw;
};
/// Clips end to end. Throws ShapeError for a clip whose targets are not as many as its frames.
MaskedBatch make_masked_batch(std::span<const MaskedClip> clips, const WavlmConfig& config, const SpanConfig& spans);

/// The encoder hears the batch, the head predicts what is hidden. With visible_weight the loss of the frames that are heard is
/// added (Hsu et al. 2021, HuBERT, eq. 2; the papers' models have none of it): it teaches the front end before the context
/// means anything. `correct` is of hidden frames always.
PredictionHead::Result masked_prediction(const WavlmEncoder& encoder, const PredictionHead& head,
                                         const MaskedBatch& batch, double visible_weight = 0);

}  // namespace wavllm
