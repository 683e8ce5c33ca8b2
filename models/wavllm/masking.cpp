#include "models/wavllm/masking.h"

#include "kernels/common/loops.h"
#include "kernels/dropout/dropout.h"

namespace wavllm {

namespace {

constexpr int64_t kKeys = int64_t{1} << 22,
                  kRows = int64_t{1} << 20;  // clips, frames or channels: of the random streams
constexpr int64_t kLongestSpan = 1 << 16;

void check(const MaskConfig& c) {
    const auto share = [](const char* name, double value) {
        if (!(value >= 0 && value < 1)) throw UsageError("mask_features: {} must be in [0, 1), but is {}", name, value);
    };
    share("time_share", c.time_share);
    share("channel_share", c.channel_share);
    share("feature_dropout", c.feature_dropout);
    const auto span = [](const char* name, int64_t value) {
        if (value < 1 || value > kLongestSpan)
            throw UsageError("mask_features: {} must be in [1, {}], but is {}", name, kLongestSpan, value);
    };
    span("time_span", c.time_span);
    span("channel_span", c.channel_span);
}

/// The probability q of a span to begin at a place so that a place is covered with probability `share`. A span of length
/// 1 .. longest, all equally likely, that began j places before covers this one with probability (longest - j)/longest,
/// so 1 - share = prod over j of (1 - q (longest - j)/longest), which falls with q.
double start_probability(double share, int64_t longest) {
    double low = 0, high = 1;
    for (int i = 0; i < 60; ++i) {
        const double q = (low + high) / 2;
        double free = 1;
        for (int64_t j = 0; j < longest; ++j)
            free *= 1 - q * static_cast<double>(longest - j) / static_cast<double>(longest);
        (free > 1 - share ? low : high) = q;
    }
    return low;
}

/// Calls f(begin, end) for the spans of one clip that reach into [0, n).
template <class F>
void for_spans(const Philox& rng, int64_t key, int64_t n, double start, int64_t longest, F&& f) {
    for (int64_t at = 1 - longest; at < n; ++at) {
        const auto words = rng.block((static_cast<uint64_t>(key) << 21) + static_cast<uint64_t>(at + longest - 1));
        if (!((words[0] + 0.5) * 0x1p-32 < start)) continue;
        const auto length =
            1 + static_cast<int64_t>((static_cast<uint64_t>(words[1]) * static_cast<uint64_t>(longest)) >> 32);
        if (at + length > 0) f(std::max<int64_t>(0, at), std::min(n, at + length));
    }
}

}  // namespace

void mask_features(Tensor& features, const Tensor& borders, std::span<const int64_t> clip_keys,
                   const MaskConfig& config, uint64_t seed, uint32_t step) {
    check(config);
    kernels::expect("mask_features", "features", features);
    if (features.rank() != 2)
        throw ShapeError("mask_features: features must be [frames, channels], but is {}", features.describe());
    const int64_t rows = features.dim(0), c = features.dim(1);
    if (c > kRows) throw ShapeError("mask_features: {} channels, but masks reach to {}", c, kRows);
    const auto b = kernels::borders_of("mask_features", borders, rows);
    if (clip_keys.size() + 1 != b.size())
        throw ShapeError("mask_features: {} clips, but {} keys", b.size() - 1, clip_keys.size());
    for (size_t i = 0; i < clip_keys.size(); ++i) {
        if (clip_keys[i] < 0 || clip_keys[i] >= kKeys)
            throw ShapeError("mask_features: key {} of clip {} is not in [0, {})", clip_keys[i], i, kKeys);
        if (b[i + 1] - b[i] > kRows)
            throw ShapeError("mask_features: clip {} has {} frames, but masks reach to {}", i, b[i + 1] - b[i], kRows);
    }
    if (config.time_share == 0 && config.channel_share == 0 && config.feature_dropout == 0) return;

    kernels::DropoutKey dropout{.p = static_cast<float>(config.feature_dropout),
                                .seed = seed,
                                .purpose = purpose_hash("mask_features.dropout"),
                                .step = step};
    if (dropout.p > 0) {
        PurposeScope scope(Purpose::workspace);
        dropout.row_keys = Tensor::empty({rows}, DType::i64);
        int64_t* row_key = dropout.row_keys.mutable_data<int64_t>();
        for (size_t i = 0; i < clip_keys.size(); ++i)
            for (int64_t row = b[i]; row < b[i + 1]; ++row) row_key[row] = clip_keys[i] * kRows + row - b[i];
    }

    const Philox time(seed, "mask_features.time", step), channel(seed, "mask_features.channel", step);
    const double time_start = start_probability(config.time_share, config.time_span);
    const double channel_start = start_probability(config.channel_share, config.channel_span);
    float* x = features.mutable_data<float>();
    parallel_for(static_cast<int64_t>(clip_keys.size()), 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t first = b[static_cast<size_t>(i)], n = b[static_cast<size_t>(i) + 1] - first;
            const int64_t key = clip_keys[static_cast<size_t>(i)];
            float* clip = x + first * c;
            if (dropout.p > 0)
                for (int64_t t = 0; t < n; ++t) kernels::dropout_row(dropout, first + t, clip + t * c, clip + t * c, c);
            if (config.time_share > 0)
                for_spans(time, key, n, time_start, config.time_span,
                          [&](int64_t from, int64_t to) { std::fill(clip + from * c, clip + to * c, 0.0f); });
            if (config.channel_share > 0)
                for_spans(channel, key, c, channel_start, config.channel_span, [&](int64_t from, int64_t to) {
                    for (int64_t t = 0; t < n; ++t) std::fill(clip + t * c + from, clip + t * c + to, 0.0f);
                });
        }
    });
}

}  // namespace wavllm
