#include "train/sampler.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "tensor/error.h"
#include "tensor/philox.h"

namespace wavllm {

namespace {

/// Fisher-Yates with numbers that depend on (seed, purpose, epoch) alone.
template <class T>
void shuffle(std::vector<T>& items, uint64_t seed, const char* purpose, uint32_t epoch) {
    const Philox rng(seed, purpose, epoch);
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[rng.bits(i) % i]);
}

}  // namespace

Sampler::Sampler(std::vector<double> seconds, SamplerConfig config) : seconds_(std::move(seconds)), config_(config) {
    if (seconds_.empty()) throw UsageError("sampler: there are no clips to train on");
    for (size_t i = 0; i < seconds_.size(); ++i)
        if (seconds_[i] > config_.batch_seconds)
            throw UsageError(
                "sampler: clip {} has {:.1f} s, more than data.batch_seconds = {}; raise it or cut the clip", i,
                seconds_[i], config_.batch_seconds);
}

const std::vector<size_t>& Sampler::batch(int64_t n) {
    while (static_cast<int64_t>(batches_.size()) <= n) {
        auto more = epoch(epochs_++);
        batches_.insert(batches_.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
    }
    return batches_[static_cast<size_t>(n)];
}

std::vector<std::vector<size_t>> Sampler::epoch(uint32_t number) const {
    std::vector<size_t> order(seconds_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    shuffle(order, config_.seed, "sampler.clips", number);
    std::vector<std::vector<size_t>> batches;
    const auto window = static_cast<size_t>(config_.batch_clips * config_.bucket_batches);
    for (size_t begin = 0; begin < order.size(); begin += window) {
        const size_t end = std::min(order.size(), begin + window);
        std::stable_sort(order.begin() + static_cast<std::ptrdiff_t>(begin),
                         order.begin() + static_cast<std::ptrdiff_t>(end),
                         [&](size_t a, size_t b) { return seconds_[a] < seconds_[b]; });
        double filled = 0;
        std::vector<size_t> batch;
        for (size_t i = begin; i < end; ++i) {
            const double s = seconds_[order[i]];
            if (!batch.empty() &&
                (filled + s > config_.batch_seconds || static_cast<int64_t>(batch.size()) == config_.batch_clips)) {
                batches.push_back(std::exchange(batch, {}));
                filled = 0;
            }
            batch.push_back(order[i]);
            filled += s;
        }
        if (!batch.empty()) batches.push_back(std::move(batch));
    }
    shuffle(batches, config_.seed, "sampler.batches", number);
    return batches;
}

}  // namespace wavllm
