#pragma once
// Altered copies of recordings: the same words by the same speaker, at another speed, in another place.

#include <cstdint>
#include <filesystem>

#include "data/synth/effects.h"

namespace wavllm {

struct AugmentOptions {
    std::filesystem::path manifest;
    std::filesystem::path out;  ///< folder for augmented.tsv and audio/
    int64_t copies = 1;         ///< of each row
    uint64_t seed = 1;
    double slowest = 0.9, fastest = 1.1;  ///< played at a speed between these: pitch and tempo change together
    EffectShares effects;
    int jobs = 1;
};

struct AugmentReport {
    std::filesystem::path manifest;
    int64_t rows = 0, clips = 0, made = 0;
    double hours = 0;
};

/// Writes `copies` altered copies of each row with speech (its part, where the row names one) and augmented.tsv, in
/// which speaker, text and all other columns stay, so that the leak check sees where a copy comes from; ids get "-a1",
/// "-a2", .... The originals are not among them. Same options, same files, for any number of jobs; what is there is not
/// made again, unless the recording changed. Throws UsageError, FileError.
AugmentReport augment(const AugmentOptions& options);

}  // namespace wavllm
