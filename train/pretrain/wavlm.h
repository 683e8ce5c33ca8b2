#pragma once
// WavLM's pre-training (Chen et al. 2022): clusters by k-means of MFCC, later of a trained encoder's features (HuBERT's second
// iteration), and a new encoder that predicts them where it does not hear.

#include <optional>

#include "train/pretrain/loop.h"
#include "train/pretrain/masked_prediction.h"
#include "train/sampler.h"

namespace wavllm {

struct WavlmPretrainOptions {
    PretrainOptions run;
    std::string size = "micro";             ///< see wavlm_size
    std::vector<std::string> train, valid;  ///< manifests; of valid the loss is only reported
    std::string targets = "mfcc";           ///< or a run's folder: features of the encoder it made
    int64_t layer = 0;                      ///< of those features; 0: the middle one
    int64_t clusters = 100;
    int64_t kmeans_iterations = 30;
    int64_t code_dim = 64;
    double batch_seconds = 32, crop_seconds = 8;  ///< longer clips are cut to a part that is drawn anew every time
    double alter_share = 0;                       ///< of clips that are heard as if recorded elsewhere
    double visible_weight = 0;                    ///< of the loss on frames that are heard
    SpanConfig spans;
    MixConfig mix;

    nlohmann::ordered_json to_json() const;
    /// Throws FileError for options that are not of such a run, UsageError as check does.
    static WavlmPretrainOptions from_json(const nlohmann::json& values, const std::string& file);
    /// Throws UsageError, naming `where`, for values that make no sense.
    void check(const std::string& where) const;
};

/// micro, small, base; micro-large is micro with WavLM-large's shape: LayerNorm on every convolution and before each branch.
/// GroupNorm on the first convolution makes every band equally loud in every clip. Throws UsageError for others.
WavlmConfig wavlm_size(const std::string& size);

/// A recording and the cluster of each of its frames.
struct PretrainClip {
    std::string id, speaker;
    std::vector<float> samples;
    std::vector<int32_t> targets;
};

/// Every sound of these manifests once. progress: rows read, rows in all. Throws FileError for sound that cannot be read
/// or is shorter than `least` samples.
std::vector<PretrainClip> load_pretrain_clips(std::span<const std::string> manifests, int64_t least,
                                              const std::function<void(int64_t, int64_t)>& progress = {});

/// What k-means sees of a clip: a row for each of the encoder's frames, every second of mfcc(): [frames, 39].
Tensor mfcc_of_frames(std::span<const float> samples, const WavlmConfig& config);

/// The encoder of a run's folder, of its model/ or of any WavLM of Hugging Face's; frozen.
WavlmEncoder load_wavlm(const std::filesystem::path& folder);

/// WavlmEncoder::forward of one clip, whose waveform is normalised before if the encoder wants that.
Tensor hidden_states(const WavlmEncoder& encoder, std::span<const float> samples);

struct ClusterSummary {
    double inertia = 0;  ///< mean squared distance to the centre
    double largest = 0;  ///< share of the largest cluster: the accuracy of who always says that one
    int64_t iterations = 0, frames = 0;
};

class WavlmPretraining {
public:
    /// The clusters stand in folder/clusters.safetensors, or are made and written there: a resumed run has the same.
    /// clips and valid get their targets. Throws UsageError for a clip of one frame or one that no batch has room for, and
    /// FileError where the clusters there are of other recordings or of another encoder or layer.
    WavlmPretraining(const PretrainFolder& folder, WavlmPretrainOptions options, std::vector<PretrainClip> clips,
                     std::vector<PretrainClip> valid);

    const ClusterSummary& clusters() const {
        return clusters_;
    }
    const WavlmEncoder& encoder() const {
        return encoder_;
    }
    Parameters parameters() const;
    /// The batch of a step.
    MaskedBatch batch(int64_t step, double& seconds);
    /// Trains to the end and writes model/, unless a signal stops it.
    PretrainReport run(const std::function<void(int64_t, const nlohmann::ordered_json&)>& after_step = {});
    /// Loss and accuracy on the clips of valid, cut to their first crop_seconds, unmixed, masked always alike.
    nlohmann::ordered_json validate() const;

private:
    Tensor target_features(const PretrainClip& clip) const;
    void make_targets();
    MaskedBatch heard(std::vector<MaskedClip> clips) const;
    MaskedClip masked_clip(const PretrainClip& clip, const ClipDraw& draw, bool random_part) const;

    const PretrainFolder& folder_;
    WavlmPretrainOptions options_;
    WavlmConfig config_;
    std::vector<PretrainClip> clips_, valid_;
    WavlmEncoder teacher_;
    ClusterSummary clusters_;
    WavlmEncoder encoder_;
    PredictionHead head_;
    std::optional<Sampler> sampler_;
};

}  // namespace wavllm
