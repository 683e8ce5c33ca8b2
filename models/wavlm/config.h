#pragma once
#include <vector>

#include "models/checkpoint/checkpoint.h"

namespace wavllm {

/// Sizes of a WavLM (Chen et al. 2022, section IV-B). The defaults are WavLM-base's.
struct WavlmConfig {
    int64_t dim = 768;
    int64_t layers = 12;
    int64_t heads = 12;
    int64_t ffn = 3072;
    std::vector<int64_t> conv_dim = std::vector<int64_t>(7, 512);
    std::vector<int64_t> conv_kernel = {10, 3, 3, 3, 3, 2, 2};
    std::vector<int64_t> conv_stride = {5, 2, 2, 2, 2, 2, 2};
    bool conv_bias = false;
    /// false: GroupNorm with a group a channel on the first convolution (base). true: LayerNorm on every one (large).
    bool conv_layer_norm = false;
    int64_t position_kernel = 128, position_groups = 16;  ///< of the positional convolution
    int64_t buckets = 320, max_distance = 800;            ///< of relative positions
    /// false: LayerNorm after each residual sum (base). true: before each branch, and once at the end (large).
    bool pre_norm = false;
    double norm_eps = 1e-5;

    int64_t head_dim() const {
        return dim / heads;
    }
    /// Frames that the convolutions make of so many samples, 20 ms each: 0 below 400 samples.
    int64_t frames(int64_t samples) const;
    /// Samples that one frame sees, and from one frame to the next: 400 and 320.
    int64_t window() const;
    int64_t hop() const;
    /// Throws UsageError naming the value that makes no sense.
    void check() const;

    /// Whether its waveforms are to be normalised to mean 0 and variance 1 by the caller: large; those of base are taken
    /// as they are.
    bool normalizes() const {
        return conv_layer_norm;
    }
    /// 24 layers of 1024, LayerNorm everywhere, pre-norm.
    static WavlmConfig large();
    /// Base's shape in small, for pre-training here: 1.1 M parameters (4 layers of 128), and 5.7 M (6 layers of 256).
    static WavlmConfig micro();
    static WavlmConfig small();
};

/// From the config.json of a Hugging Face folder. Throws FileError naming what is missing or not supported.
WavlmConfig wavlm_config(const Checkpoint& checkpoint);
/// From the values of such a config.json; `file` is for error messages.
WavlmConfig wavlm_config(const nlohmann::json& values, const std::string& file);

/// What such a config.json says of these sizes.
nlohmann::ordered_json config_json(const WavlmConfig& config);

/// The bucket of key position minus query position: exact up to buckets/4 on each side, then logarithmic, all alike
/// from max_distance on (Raffel et al. 2020, T5; both directions).
int64_t relative_position_bucket(int64_t distance, int64_t buckets, int64_t max_distance);

}  // namespace wavllm
