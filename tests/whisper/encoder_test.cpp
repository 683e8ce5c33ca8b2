// Witness: the reference's encoder in float64 (golden/): a tiny WavLLM's under the released names, and Hugging Face's
// WhisperForConditionalGeneration.
#include "models/whisper/encoder.h"

#include "data/audio.h"
#include "kernels/common/check.h"
#include "kernels/log_mel/log_mel.h"
#include "models/whisper/features.h"
#include "tests/whisper/golden.h"
#include "tests/whisper/tiny.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

const WhisperEncoder& wavllm_encoder() {
    static const auto checkpoint = open_checkpoint(shared("golden/model.safetensors"));
    static const WhisperEncoder encoder = [] {
        const Weights weights(*checkpoint);
        WhisperEncoder e = WhisperEncoder::load(weights.under("audio_encoder.model."), golden_wavllm_config());
        for (const char* other : {"audio_encoder.adapter.", "audio_encoder.projector.", "audio_encoder.subsample.",
                                  "wavlm", "gpt_model.", "audio_proj."})
            weights.ignore(other);
        weights.finish();  // nothing of the encoder is missing or left over
        return e;
    }();
    return encoder;
}

Tensor chunk_borders(std::initializer_list<int64_t> lengths) {
    return kernels::make_borders({lengths.begin(), lengths.size()});
}

/// Every step-th row.
Tensor every(const Tensor& t, int64_t step) {
    const int64_t n = (t.dim(0) + step - 1) / step;
    Tensor y = Tensor::empty({n, t.dim(1)});
    for (int64_t i = 0; i < n; ++i)
        std::copy_n(t.data<float>() + i * step * t.dim(1), t.dim(1), y.mutable_data<float>() + i * t.dim(1));
    return y;
}

WhisperFeatures features_of(const std::string& clip, WhisperPadding padding = WhisperPadding::whole) {
    const std::vector<float> samples = read_audio(shared("golden/audio_" + clip + ".wav").string());
    const std::span<const float> clips[] = {samples};
    return whisper_features(clips, kernels::make_mel_filters(80), padding);
}

}  // namespace

TEST_CASE("whisper encoder: every intermediate of the golden clip a, from its stored mel") {
    const Golden golden("audio_a.safetensors");
    const Tensor mel = transposed(golden["mel"].reshape({80, 3000}));
    Seen seen;
    const Tensor borders = chunk_borders({3000});
    const Tensor encoded = wavllm_encoder().forward(mel, borders, &seen.observer);
    REQUIRE(encoded.dim(0) == 1500);
    const int64_t kept = whisper_frames_kept(34560);
    CHECK(kept == 108);
    for (const std::string name : {"embedded", "layer0", "layer1", "encoded"})
        golden.check("whisper." + name, seen[name].slice(0, 0, kept));
    CHECK(same_bits(seen["encoded"], encoded));
}

TEST_CASE("whisper encoder: the first convolution, against one in float64") {
    // Not against golden "whisper.conv1": the reference stored WavLM's second convolution under that name, as the
    // comparison at the end shows. Should it fail one day, the reference was corrected: check conv1 against it then.
    const Golden golden("audio_a.safetensors");
    const Tensor stored = golden["mel"].reshape({80, 3000});
    Seen seen;
    wavllm_encoder().forward(transposed(stored), chunk_borders({3000}), &seen.observer);
    const auto weights = open_checkpoint(shared("golden/model.safetensors"));
    const std::vector<double> w = to_tensor(weights->at("audio_encoder.model.conv1.weight")).values();
    const std::vector<double> bias = to_tensor(weights->at("audio_encoder.model.conv1.bias")).values();
    const std::vector<double> mel = stored.values(), y = seen["conv1"].values();
    REQUIRE(y.size() == 3000 * 64);
    double worst = 0, largest = 0;
    for (int64_t t = 0; t < 3000; t = t == 300 ? 2990 : t + 1)  // the start, and the end with its border
        for (int64_t o = 0; o < 64; ++o) {
            double sum = bias[static_cast<size_t>(o)];
            for (int64_t c = 0; c < 80; ++c)
                for (int64_t tap = 0; tap < 3; ++tap)
                    if (const int64_t at = t + tap - 1; at >= 0 && at < 3000)
                        sum += w[static_cast<size_t>((o * 80 + c) * 3 + tap)] * mel[static_cast<size_t>(c * 3000 + at)];
            worst = std::max(worst, std::abs(sum - y[static_cast<size_t>(t * 64 + o)]));
            largest = std::max(largest, std::abs(sum));
        }
    CHECK(largest > 1);
    CHECK(worst < 1e-6 * largest);

    const Tensor mislabelled = golden["whisper.conv1"].slice(1, 0, 40).to_contiguous();
    CHECK(same_bits(mislabelled, golden["wavlm.conv1"]));
}

TEST_CASE("whisper encoder: golden clips b and long through our own log-mel, chunks in one call") {
    {
        const Golden golden("audio_b.safetensors");
        const WhisperFeatures f = features_of("b");
        Seen seen;
        wavllm_encoder().forward(f.mel, f.borders, &seen.observer);
        const int64_t kept = f.kept.data<int64_t>()[0];
        CHECK(kept == 142);
        for (const std::string name : {"embedded", "layer0", "layer1", "encoded"})
            golden.check("whisper." + name, seen[name].slice(0, 0, kept));
    }
    const Golden golden("audio_long.safetensors");
    const WhisperFeatures f = features_of("long");
    REQUIRE(f.kept.numel() == 2);
    const Tensor encoded = wavllm_encoder().forward(f.mel, f.borders);
    const KeptFrames kept = keep_frames(encoded, wavllm_encoder().frame_borders(f.borders), f.kept);
    CHECK(kept.borders.values() == std::vector<double>{0, 1500, 3000});
    golden.check("whisper.encoded_every_25th_frame", every(kept.rows, 25));
}

TEST_CASE("whisper encoder: a chunk's bits do not depend on the chunks beside it") {
    const WhisperFeatures a = features_of("a", WhisperPadding::tight), b = features_of("b", WhisperPadding::tight);
    const int64_t na = a.mel.dim(0), nb = b.mel.dim(0);
    Tensor both = Tensor::empty({na + nb, 80});
    std::copy_n(a.mel.data<float>(), na * 80, both.mutable_data<float>());
    std::copy_n(b.mel.data<float>(), nb * 80, both.mutable_data<float>() + na * 80);
    const WhisperEncoder& e = wavllm_encoder();
    const Tensor borders = chunk_borders({na, nb});
    const Tensor together = e.forward(both, borders);
    const int64_t middle = e.frame_borders(borders).data<int64_t>()[1];
    CHECK(middle == (na - 1) / 2 + 1);
    CHECK(same_bits(together.slice(0, 0, middle), e.forward(a.mel, a.borders)));
    CHECK(same_bits(together.slice(0, middle, together.dim(0)), e.forward(b.mel, b.borders)));
}

TEST_CASE("whisper encoder: Hugging Face's, 120 positions") {
    const Golden golden("hf_whisper.safetensors");
    Seen seen;
    golden_hf_whisper().encoder.forward(transposed(golden["input_features"]), chunk_borders({240}), &seen.observer);
    golden.check("encoder_hidden0", seen["embedded"]);
    golden.check("encoder_hidden1", seen["layer0"]);
    golden.check("encoder_hidden2", seen["encoded"]);
}

TEST_CASE("whisper encoder: what it cannot take is an error that says so") {
    const WhisperEncoder& e = golden_hf_whisper().encoder;
    CHECK_THROWS_WITH_AS(e.forward(Tensor::zeros({242, 80}), chunk_borders({242})), doctest::Contains("121 frames"),
                         ShapeError);
    CHECK_THROWS_AS(e.forward(Tensor::zeros({10, 79}), chunk_borders({10})), ShapeError);
    CHECK_THROWS_AS(e.forward(Tensor::zeros({10, 80}), chunk_borders({0, 10})), ShapeError);
    WhisperConfig wrong = golden_wavllm_config();
    wrong.heads = 5;
    CHECK_THROWS_WITH_AS(wrong.check(), doctest::Contains("dim 64"), UsageError);
}
