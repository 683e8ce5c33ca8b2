// Masks on features. Witnesses: the shares that the configuration asks for, met within a few standard deviations; the
// same clips in another batch; the untouched original.

#include "models/wavllm/masking.h"

#include <doctest/doctest.h>

#include <cstring>

#include "kernels/common/check.h"
#include "kernels/common/op_case.h"
#include "tensor/thread_pool.h"

using namespace wavllm;

namespace {

std::vector<int64_t> count(int64_t n) {
    std::vector<int64_t> keys;
    for (int64_t i = 0; i < n; ++i) keys.push_back(17 * i + 3);
    return keys;
}

/// `clips` clips of `frames` frames of ones, masked.
Tensor masked_ones(int64_t clips, int64_t frames, int64_t channels, const MaskConfig& config, uint32_t step = 5) {
    Tensor x = Tensor::full({clips * frames, channels}, 1);
    const std::vector<int64_t> lengths(static_cast<size_t>(clips), frames);
    mask_features(x, kernels::make_borders(lengths), count(clips), config, 9, step);
    return x;
}

double zeros(const Tensor& x) {
    double n = 0;
    for (double v : x.values()) n += v == 0;
    return n / static_cast<double>(x.numel());
}

std::string bytes(const Tensor& t) {
    return {static_cast<const char*>(t.raw()), t.bytes()};
}

constexpr MaskConfig kAll{
    .time_share = 0.2, .time_span = 7, .channel_share = 0.15, .channel_span = 5, .feature_dropout = 0.1};

}  // namespace

TEST_CASE("masking: time spans cover the share of the frames they should, first and last ones too") {
    for (const auto& [asked, longest] : {std::pair{0.1, 10}, std::pair{0.4, 25}, std::pair{0.3, 1}}) {
        const double share = asked;
        const int span = longest;
        const Tensor x = masked_ones(2000, 30, 1, {.time_share = share, .time_span = span});
        CAPTURE(share);
        CAPTURE(span);
        CHECK(zeros(x) == doctest::Approx(share).epsilon(0.08));  // 60,000 frames in spans: sigma is 2 % or less
        const Tensor frames = x.reshape({2000, 30});
        for (const int64_t frame : {0, 15, 29})  // 2,000 clips: sigma of the share is at most 0.011
            CHECK(std::abs(zeros(frames.slice(1, frame, frame + 1).to_contiguous()) - share) < 0.04);
    }
}

TEST_CASE("masking: a time span takes all channels, a channel span all frames, neither scales what is left") {
    const Tensor time = masked_ones(50, 40, 12, {.time_share = 0.3, .time_span = 6});
    for (int64_t row = 0; row < time.dim(0); ++row) {
        const std::vector<double> v = time.slice(0, row, row + 1).values();
        CHECK(std::all_of(v.begin(), v.end(), [&](double x) { return x == v[0]; }));
        CHECK((v[0] == 0 || v[0] == 1));
    }
    const Tensor channel = masked_ones(400, 4, 64, {.channel_share = 0.25, .channel_span = 8});
    CHECK(zeros(channel) == doctest::Approx(0.25).epsilon(0.06));
    for (int64_t clip = 0; clip < 400; ++clip)
        for (int64_t t = 1; t < 4; ++t)
            REQUIRE(bytes(channel.slice(0, 4 * clip, 4 * clip + 1)) ==
                    bytes(channel.slice(0, 4 * clip + t, 4 * clip + t + 1)));
    CHECK(bytes(channel.slice(0, 0, 4)) != bytes(channel.slice(0, 4, 8)));  // each clip has its own
}

TEST_CASE("masking: no span is longer than it may be") {
    const Tensor x = masked_ones(1, 20000, 1, {.time_share = 0.01, .time_span = 5});
    const std::vector<double> v = x.values();
    std::vector<int64_t> runs(200);
    for (size_t i = 0, run = 0; i < v.size(); ++i) {
        run = v[i] == 0 ? run + 1 : 0;
        if (run > 0 && (i + 1 == v.size() || v[i + 1] != 0)) ++runs[run];
    }
    for (size_t length = 1; length <= 5; ++length) CHECK(runs[length] > 0);
    int64_t longer = 0, all = 0;
    for (size_t length = 1; length < runs.size(); ++length) (length > 5 ? longer : all) += runs[length];
    CHECK(longer * 20 < all);  // only where two spans touch
}

TEST_CASE("masking: feature dropout drops single elements and keeps the mean") {
    const Tensor x = masked_ones(20, 50, 100, {.feature_dropout = 0.1});
    CHECK(zeros(x) == doctest::Approx(0.1).epsilon(0.03));
    double sum = 0;
    int64_t others = 0;  // neither dropped nor scaled
    for (double v : x.values()) {
        others += !(v == 0 || std::abs(v - 1 / 0.9) < 1e-6);
        sum += v;
    }
    CHECK(others == 0);
    CHECK(sum / static_cast<double>(x.numel()) == doctest::Approx(1).epsilon(0.005));
}

TEST_CASE(
    "masking: a clip's mask is the same bits in any batch and on any number of threads, another in another step") {
    const std::vector<int64_t> lengths{31, 0, 52, 17}, keys{900, 4, 1234567, 0};
    const Tensor original = random({100, 37});
    const int before = num_threads();
    std::vector<std::string> whole;
    for (int threads : {1, 3}) {
        set_num_threads(threads);
        Tensor x = original.clone();
        mask_features(x, kernels::make_borders(lengths), keys, kAll, 11, 3);
        whole.push_back(bytes(x));
    }
    set_num_threads(before);
    CHECK(whole[0] == whole[1]);
    CHECK(whole[0] != bytes(original));
    std::string pieces;
    for (size_t i = 0, row = 0; i < 4; row += static_cast<size_t>(lengths[i++])) {
        const auto at = static_cast<int64_t>(row);
        Tensor x = original.slice(0, at, at + lengths[i]).clone();
        mask_features(x, kernels::make_borders(std::vector{lengths[i]}), std::vector{keys[i]}, kAll, 11, 3);
        pieces += bytes(x);
    }
    CHECK(pieces == whole[0]);
    Tensor other = original.clone();
    mask_features(other, kernels::make_borders(lengths), keys, kAll, 11, 4);
    CHECK(bytes(other) != whole[0]);
    other = original.clone();
    mask_features(other, kernels::make_borders(lengths), keys, kAll, 12, 3);
    CHECK(bytes(other) != whole[0]);
}

TEST_CASE("masking: off leaves every bit, and what does not fit is named") {
    const Tensor original = random({9, 5});
    Tensor x = original.clone();
    const uint32_t version = x.storage()->version();
    const std::vector<int64_t> keys{1, 2};
    const Tensor borders = kernels::make_borders(std::vector<int64_t>{4, 5});
    mask_features(x, borders, keys, {}, 1, 1);
    CHECK(bytes(x) == bytes(original));
    CHECK(x.storage()->version() == version);
    CHECK_THROWS_AS(mask_features(x, borders, keys, {.time_share = 1}, 1, 1), UsageError);
    CHECK_THROWS_AS(mask_features(x, borders, keys, {.channel_share = -0.1}, 1, 1), UsageError);
    CHECK_THROWS_AS(mask_features(x, borders, keys, {.feature_dropout = NAN}, 1, 1), UsageError);
    CHECK_THROWS_AS(mask_features(x, borders, keys, {.time_share = 0.1, .time_span = 0}, 1, 1), UsageError);
    CHECK_THROWS_AS(mask_features(x, borders, std::vector<int64_t>{1}, kAll, 1, 1), ShapeError);
    CHECK_THROWS_AS(mask_features(x, borders, std::vector<int64_t>{1, -1}, kAll, 1, 1), ShapeError);
    CHECK_THROWS_AS(mask_features(x, kernels::make_borders(std::vector<int64_t>{4, 4}), keys, kAll, 1, 1), ShapeError);
    CHECK(bytes(x) == bytes(original));
}
