#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace wavllm {

struct SamplerConfig {
    double batch_seconds = 30;  ///< of audio in a batch
    int64_t batch_clips = 64;
    int64_t bucket_batches = 8;  ///< clips are sorted by length within this many batches' worth
    uint64_t seed = 1;
};

/// Which clips make up the n-th batch: a function of the configuration and n alone, so a resumed run draws what it
/// would have drawn. Each epoch is a fresh permutation (Philox); within a window of it clips are sorted by length, cut
/// into batches by seconds of audio, and the batches are shuffled.
class Sampler {
public:
    /// seconds[i]: length of clip i. Throws UsageError if there are no clips, or one is longer than a batch may be.
    Sampler(std::vector<double> seconds, SamplerConfig config);
    /// Indices of the clips of batch n (counted over all epochs), in a fixed order.
    const std::vector<size_t>& batch(int64_t n);

private:
    std::vector<std::vector<size_t>> epoch(uint32_t number) const;

    std::vector<double> seconds_;
    SamplerConfig config_;
    std::vector<std::vector<size_t>> batches_;  // of the epochs seen so far, one after the other
    uint32_t epochs_ = 0;
};

/// Batches of one stage: each from one set, drawn by the sets' shares (Philox), each set going through its own epochs.
class MixedSampler {
public:
    struct Set {
        std::string name;
        std::vector<double> seconds;
        double share = 1;
    };
    struct Batch {
        size_t set = 0;
        const std::vector<size_t>* clips = nullptr;  ///< indices within the set, in a fixed order
    };

    /// Only clips of min_seconds to max_seconds (0: no limit) take part. Throws UsageError naming a set that has a
    /// share, but no clip of such a length.
    MixedSampler(std::vector<Set> sets, SamplerConfig config, double min_seconds = 0, double max_seconds = 0);
    /// Batch n of the stage; valid until the next call.
    Batch batch(int64_t n);

private:
    struct Source {
        size_t set;
        double share;
        Sampler sampler;
        std::vector<size_t> clips;  // the set's index of each clip of the sampler
    };
    std::vector<Source> sources_;
    double shares_ = 0;
    uint64_t seed_;
    std::vector<std::pair<size_t, int64_t>> drawn_;  // source of each batch so far, and which of its batches
    std::vector<int64_t> counts_;
    std::vector<size_t> current_;
};

}  // namespace wavllm
