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

MixedSampler::MixedSampler(std::vector<Set> sets, SamplerConfig config, double min_seconds, double max_seconds)
    : seed_(config.seed) {
    for (size_t i = 0; i < sets.size(); ++i) {
        if (sets[i].share <= 0) continue;
        std::vector<size_t> clips;
        std::vector<double> seconds;
        for (size_t c = 0; c < sets[i].seconds.size(); ++c) {
            const double s = sets[i].seconds[c];
            if (s < min_seconds || (max_seconds > 0 && s > max_seconds)) continue;
            clips.push_back(c);
            seconds.push_back(s);
        }
        if (clips.empty())
            throw UsageError("sampler: set \"{}\" has no clip of {} to {} s; give it no share in this stage",
                             sets[i].name, min_seconds, max_seconds > 0 ? fmt::format("{}", max_seconds) : "any");
        SamplerConfig own = config;
        own.seed += 7919 * i;  // two sets of equal lengths are not shuffled alike
        sources_.push_back({i, sets[i].share, Sampler(std::move(seconds), own), std::move(clips)});
        shares_ += sets[i].share;
    }
    if (sources_.empty()) throw UsageError("sampler: no training set has a share");
    counts_.assign(sources_.size(), 0);
}

MixedSampler::Batch MixedSampler::batch(int64_t n) {
    const Philox rng(seed_, "sampler.sets", 0);
    while (static_cast<int64_t>(drawn_.size()) <= n) {
        double at = rng.uniform(drawn_.size()) * shares_;
        size_t source = 0;
        while (source + 1 < sources_.size() && at >= sources_[source].share) at -= sources_[source++].share;
        drawn_.emplace_back(source, counts_[source]++);
    }
    const auto& [source, number] = drawn_[static_cast<size_t>(n)];
    Source& s = sources_[source];
    current_.clear();
    for (size_t clip : s.sampler.batch(number)) current_.push_back(s.clips[clip]);
    return {s.set, &current_};
}

}  // namespace wavllm
