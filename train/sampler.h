#pragma once
#include <cstdint>
#include <span>
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

}  // namespace wavllm
