#pragma once
// Masks on cached encoder features, after SpecAugment (Park et al. 2019, section 2: time and frequency masking), on the
// host and without gradient: the encoder is frozen.

#include <span>

#include "tensor/tensor.h"

namespace wavllm {

struct MaskConfig {
    double time_share = 0;       ///< expected share of a clip's frames inside time spans, in [0, 1)
    int64_t time_span = 10;      ///< longest time span, in frames; lengths are uniform from 1
    double channel_share = 0;    ///< expected share of the channels inside channel spans, in [0, 1)
    int64_t channel_span = 16;   ///< longest channel span
    double feature_dropout = 0;  ///< probability of each single element to be dropped; the others grow by 1 / (1 - p)
};

/// Masks a batch's own copy of the features in place. features: [T, C] f32 of all clips end to end, C <= 2^20; borders:
/// i64 [S+1]; clip_keys: a number below 2^22 for each clip. Spans are set to 0: time spans over all channels, channel
/// spans over the whole clip. A span begins at each frame (channel) with one probability, before the first one too, so
/// that all frames are masked equally often, and as often as the share says although spans overlap.
///
/// Everything is drawn from (seed, step, clip key, frame, channel) alone: the same bits whatever else is in the batch,
/// on any number of threads, after a resumed run. Shares and dropout of 0 leave the features untouched. Throws
/// UsageError for a share outside [0, 1) or a span outside [1, 65536], ShapeError if sizes do not fit.
void mask_features(Tensor& features, const Tensor& borders, std::span<const int64_t> clip_keys,
                   const MaskConfig& config, uint64_t seed, uint32_t step);

}  // namespace wavllm
