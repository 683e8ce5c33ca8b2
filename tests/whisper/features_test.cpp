// Witness: frame and token counts of wavllm.md and golden/case.json; log-mel of the reference (golden/); arithmetic by
// hand for the tight mode.
#include "models/whisper/features.h"

#include "data/audio.h"
#include "kernels/log_mel/log_mel.h"
#include "tests/whisper/golden.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

WhisperFeatures features(const std::vector<std::vector<float>>& clips, WhisperPadding padding) {
    std::vector<std::span<const float>> views(clips.begin(), clips.end());
    return whisper_features(views, kernels::make_mel_filters(80), padding);
}

std::vector<float> tone(size_t samples) {
    std::vector<float> v(samples);
    for (size_t i = 0; i < samples; ++i) v[i] = std::sin(0.05f * static_cast<float>(i));
    return v;
}

}  // namespace

TEST_CASE("whisper features: frames kept") {
    CHECK(whisper_frames_kept(34560) == 108);
    CHECK(whisper_frames_kept(45289) == 142);
    CHECK(whisper_frames_kept(480000) == 1500);
    CHECK(whisper_frames_kept(1) == 1);
    CHECK(whisper_frames_kept(0) == 0);
    // speech tokens of wavllm.md: two more halvings
    const auto tokens = [](int64_t n) { return ((whisper_frames_kept(n) - 1) / 2) / 2 + 1; };
    CHECK(tokens(16000) == 13);
    CHECK(tokens(34560) == 27);
    CHECK(tokens(166960) == 131);
    CHECK(tokens(480000) == 375);
}

TEST_CASE("whisper features: 30 s chunks of a batch, end to end") {
    const WhisperFeatures f = features({tone(34560), tone(487360)}, WhisperPadding::whole);
    CHECK(f.borders.values() == std::vector<double>{0, 3000, 6000, 9000});
    CHECK(f.clip_borders.values() == std::vector<double>{0, 1, 3});
    CHECK(f.kept.values() == std::vector<double>{108, 1500, 1500});
    CHECK(f.mel.shape() == Shape{9000, 80});
    const WhisperFeatures alone = features({tone(487360)}, WhisperPadding::whole);
    CHECK(same_bits(alone.mel, f.mel.slice(0, 3000, 9000)));
    CHECK(features({tone(480000)}, WhisperPadding::whole).kept.numel() == 1);  // exactly 30 s: no empty second chunk
}

TEST_CASE("whisper features: tight chunks get one second, at most 30 s") {
    const WhisperFeatures f = features({tone(8000), tone(475000), tone(480000 + 8001)}, WhisperPadding::tight);
    // 8000: 50 + 100 frames; 475000: 29.69 s, cut at 30 s; then a whole chunk and 51 + 100 frames
    CHECK(f.borders.values() == std::vector<double>{0, 150, 3150, 6150, 6301});
    CHECK(f.kept.values() == std::vector<double>{25, 1485, 1500, 26});
    CHECK(features({tone(1)}, WhisperPadding::tight).mel.dim(0) == 101);
}

TEST_CASE("whisper features: mel of the golden clip") {
    const Golden golden("audio_a.safetensors");
    const WhisperFeatures f = features({read_audio(shared("golden/audio_a.wav").string())}, WhisperPadding::whole);
    const std::vector<double> expected = transposed(golden["mel"].reshape({80, 3000})).values();
    CHECK(Golden::largest_difference(expected, f.mel.values()) < 3e-5);  // what a float32 FFT differs by
}

TEST_CASE("whisper features: keep_frames cuts every chunk") {
    const Tensor x = Tensor::from<float>(std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7}, {8, 1});
    const auto i64 = [](std::vector<int64_t> v) { return Tensor::from(v, {static_cast<int64_t>(v.size())}); };
    const KeptFrames kept = keep_frames(x, i64({0, 5, 8}), i64({2, 3}));
    CHECK(kept.rows.values() == std::vector<double>{0, 1, 5, 6, 7});
    CHECK(kept.borders.values() == std::vector<double>{0, 2, 5});
    CHECK_THROWS_WITH_AS(keep_frames(x, i64({0, 5, 8}), i64({2, 4})), doctest::Contains("chunk 1"), ShapeError);
}

TEST_CASE("whisper features: what makes no sense is an error") {
    CHECK_THROWS_WITH_AS(features({tone(400), {}}, WhisperPadding::whole), doctest::Contains("clip 1"), UsageError);
    CHECK(whisper_padding("tight") == WhisperPadding::tight);
    CHECK(whisper_padding("30s") == WhisperPadding::whole);
    CHECK_THROWS_AS(whisper_padding("none"), UsageError);
}
