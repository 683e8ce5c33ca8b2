// Witness: recordings made here, whose pauses are known.

#include "data/pauses.h"

#include <doctest/doctest.h>

#include <cmath>

#include "data/audio.h"
#include "tensor/error.h"

using namespace wavllm;

namespace {

/// A tone with silences of 0.3 s that begin at these seconds.
std::vector<float> tone(double seconds, std::initializer_list<double> pauses) {
    std::vector<float> samples(static_cast<size_t>(seconds * kSampleRate));
    for (size_t i = 0; i < samples.size(); ++i) samples[i] = 0.3f * std::sin(0.2f * static_cast<float>(i));
    for (const double at : pauses)
        std::fill_n(samples.begin() + static_cast<int64_t>(at * kSampleRate), static_cast<int64_t>(0.3 * kSampleRate),
                    0.0f);
    return samples;
}

}  // namespace

TEST_CASE("cut at pauses: every part ends in one, nothing is lost, and what is short stays whole") {
    const std::vector<float> samples = tone(33, {3, 8.2, 16, 19.5, 27});
    const auto parts = cut_at_pauses(samples, 10);
    REQUIRE(parts.size() == 4);
    const float* at = samples.data();
    for (const auto& part : parts) {
        CHECK(part.data() == at);
        CHECK(part.size() <= 10 * kSampleRate);
        at += part.size();
    }
    CHECK(at == samples.data() + samples.size());
    const double ends[] = {8.2, 16};
    double begin = 0;
    for (size_t i = 0; i < 2; ++i) {
        begin += static_cast<double>(parts[i].size()) / kSampleRate;
        CHECK(begin > ends[i]);
        CHECK(begin < ends[i] + 0.3);
    }
    CHECK(cut_at_pauses(std::span(samples).first(5 * kSampleRate), 10).size() == 1);
    CHECK(cut_at_pauses({}, 10).size() == 1);
    // without any pause the parts still are no longer than they may be
    const std::vector<float> whole = tone(25, {});
    for (const auto& part : cut_at_pauses(whole, 4)) CHECK(part.size() <= 4 * kSampleRate);
    CHECK_THROWS_AS(cut_at_pauses(samples, 0.5), UsageError);
}
