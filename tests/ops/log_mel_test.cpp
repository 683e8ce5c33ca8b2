// Log-mel against the spectrograms of the reference code: golden clips (float64), and Whisper base's feature extractor
// on real speech. Tolerance: what a float32 transform of the same code differs by (golden/README.md).
#include "kernels/log_mel/log_mel.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/audio.h"
#include "kernels/common/op_case.h"
#include "models/checkpoint/checkpoint.h"
#include "tests/support/shared.h"

using namespace wavllm;

namespace {

constexpr double kTolerance = 3e-5;

struct Golden {
    std::vector<int64_t> shape;
    std::vector<float> v;
};

Golden golden(const Checkpoint& file, const std::string& name) {
    const StoredTensor& t = file.at(name);
    REQUIRE(t.dtype == DType::f32);
    Golden g{t.shape, std::vector<float>(t.bytes.size() / sizeof(float))};
    std::memcpy(g.v.data(), t.bytes.data(), t.bytes.size());
    return g;
}

/// The chunks of a clip, 30 s each.
std::vector<Tensor> chunks_of(const std::string& clip, const Tensor& filters) {
    const std::vector<float> samples = read_audio(tests::shared(clip).string());
    std::vector<Tensor> chunks;
    constexpr size_t kChunk = 480000;
    for (size_t at = 0; at < samples.size(); at += kChunk) {
        const std::span<const float> part = std::span(samples).subspan(at, std::min(kChunk, samples.size() - at));
        chunks.push_back(kernels::log_mel(Tensor::from(part, {static_cast<int64_t>(part.size())}), filters,
                                          kernels::kMelChunkFrames));
    }
    return chunks;
}

/// Largest difference of expected [mels, frames] from frames 0, step, 2 step, ... of mel [frames, mels].
double difference(const float* expected, int64_t frames, const Tensor& mel, int64_t step) {
    double worst = 0;
    for (int64_t m = 0; m < mel.dim(1); ++m)
        for (int64_t t = 0; t < frames; ++t)
            worst = std::max<double>(worst,
                                     std::abs(expected[m * frames + t] - mel.data<float>()[t * step * mel.dim(1) + m]));
    return worst;
}

}  // namespace

TEST_CASE("log_mel: the filters are those of the reference code") {
    const auto file = open_checkpoint(tests::shared("golden/tables.safetensors"));
    const Golden expected = golden(*file, "mel_filters");
    const Tensor filters = kernels::make_mel_filters(80);
    REQUIRE(expected.v.size() == static_cast<size_t>(filters.numel()));
    for (size_t i = 0; i < expected.v.size(); ++i) CHECK(std::abs(filters.data<float>()[i] - expected.v[i]) < 1e-9);
}

TEST_CASE("log_mel: golden clips") {
    const Tensor filters = kernels::make_mel_filters(80);
    const auto a = open_checkpoint(tests::shared("golden/audio_a.safetensors"));
    const std::vector<Tensor> mel = chunks_of("golden/audio_a.wav", filters);
    REQUIRE(mel.size() == 1);
    CHECK(difference(golden(*a, "mel").v.data(), 3000, mel[0], 1) < kTolerance);

    for (const std::string clip : {"b", "long"}) {
        CAPTURE(clip);
        const auto file = open_checkpoint(tests::shared("golden/audio_" + clip + ".safetensors"));
        const std::vector<Tensor> chunks = chunks_of("golden/audio_" + clip + ".wav", filters);
        const Golden eighth = golden(*file, "mel_every_8th_frame"), head = golden(*file, "mel_last_chunk_head");
        REQUIRE(static_cast<int64_t>(chunks.size()) == eighth.shape[0]);
        for (size_t i = 0; i < chunks.size(); ++i)
            CHECK(difference(eighth.v.data() + i * 80 * 375, 375, chunks[i], 8) < kTolerance);
        CHECK(difference(head.v.data(), 200, chunks.back(), 1) < kTolerance);
    }
}

TEST_CASE("log_mel: Whisper base's feature extractor on real speech") {
    std::ifstream json(tests::shared("golden/real/whisper-base.json"));
    const nlohmann::json clips = nlohmann::json::parse(json).at("clips");
    const auto file = open_checkpoint(tests::shared("golden/real/whisper-base.safetensors"));
    const Tensor filters = kernels::make_mel_filters(80);
    for (size_t i = 0; i < 3; ++i) {
        CAPTURE(i);
        const Golden expected = golden(*file, "c" + std::to_string(i) + ".log_mel");
        const std::vector<Tensor> mel = chunks_of("data/speech/" + clips[i].at("audio").get<std::string>(), filters);
        CHECK(difference(expected.v.data(), expected.shape[1], mel.at(0), 1) < kTolerance);
    }
}

TEST_CASE("log_mel: errors") {
    const Tensor filters = kernels::make_mel_filters(80);
    CHECK_THROWS_WITH_AS(kernels::log_mel(random({480160}), filters, 3000),
                         "log_mel: 480160 samples do not fit 3000 frames of 160; cut the clip into chunks", ShapeError);
    CHECK_THROWS_AS(kernels::log_mel(random({100}), filters, 1), ShapeError);
    CHECK_THROWS_AS(kernels::log_mel(random({100}), filters, 0), ShapeError);
    CHECK_THROWS_AS(kernels::log_mel(random({1000}), random({80, 200}), 10), ShapeError);
    CHECK_THROWS_AS(kernels::make_mel_filters(0), ShapeError);
}
