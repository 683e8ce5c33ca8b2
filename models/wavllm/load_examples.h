#pragma once
// Manifests to examples: texts tokenised, audio encoded once or taken from the feature cache.

#include <functional>
#include <span>

#include "models/wavllm/system.h"

namespace wavllm {

/// Of all that turns samples into features with this system: the encoders' weights, configuration and dtype, the
/// padding, and the bits of one made-up clip, which tell the arithmetic of this CPU and of this version of the code.
std::string feature_fingerprint(const System& system);
/// The cache in the default folder, for this system's features.
std::unique_ptr<FeatureCache> open_feature_cache(const System& system);

/// Seconds of audio encoded so far and to be encoded in all; the second is an estimate until the last clip is read.
/// Called first with done = 0; not called where the cache has everything.
using EncodeProgress = std::function<void(double done, double total)>;

struct EncodeSummary {
    size_t clips = 0;         ///< different parts of audio files
    size_t from_cache = 0;    ///< of these
    double seconds = 0;       ///< of audio in all
    double encoded = 0;       ///< seconds of audio encoded here
    double wall = 0;          ///< time that encoding took, reading of audio and writing of the cache included
    int64_t cache_bytes = 0;  ///< of the clips' files in the cache
};

/// Reads manifests into examples, in order; an example's key is its index over all of them, and rows without speech get
/// no features. With a cache, what it lacks is encoded and put there, and no features stay in memory; without one, all
/// do. Work is shared with other processes that fill the same cache at the same time. The bits are the same in any
/// case. Throws FileError naming row and file for whatever is wrong with one.
std::vector<SpeechExample> load_examples(const System& system, std::span<const std::filesystem::path> manifests,
                                         const FeatureCache* cache = nullptr, const EncodeProgress& progress = {},
                                         EncodeSummary* summary = nullptr);

}  // namespace wavllm
