// Witness: OpenAI's Whisper base in PyTorch float32 on real speech (golden/real): log-mel, encoder, greedy ids exactly.
#include <doctest/doctest.h>

#include <algorithm>

#include "data/audio.h"
#include "data/tokenizer/bpe.h"
#include "infer/whisper_transcribe.h"
#include "kernels/common/check.h"
#include "kernels/log_mel/log_mel.h"
#include "models/whisper/features.h"
#include "tests/support/real_models.h"
#include "tests/support/temp_folder.h"
#include "tests/whisper/golden.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

const Whisper& whisper_base() {
    static const Whisper model = Whisper::load(*open_checkpoint(real_model("whisper-base")));
    return model;
}

std::unique_ptr<Tokenizer> tokenizer(const std::string& model) {
    const auto path = real_model(model, "tokenizer");
    return make_bpe_tokenizer(hf_bpe_vocabulary(path.string(), read_all(path)));
}

struct Clip {
    std::vector<float> samples;
    std::vector<int32_t> ids;
    std::string text;
};

constexpr size_t kQuick[] = {4, 2, 5};  // of 8, 19 and 7 tokens

/// Those clips, and with WAVLLM_ALL_CLIPS=1 the other 13 of the reference.
std::vector<Clip> golden_clips() {
    const auto facts = read_json_file(shared("golden/real/whisper-base.json"));
    std::vector<Clip> clips;
    const auto& all = facts.at("clips");
    const auto add = [&](size_t i) {
        clips.push_back({read_audio(shared("data/speech/" + all.at(i).at("audio").get<std::string>()).string()),
                         all[i].at("greedy_ids").get<std::vector<int32_t>>(), all[i].at("greedy_text")});
    };
    for (const size_t i : kQuick) add(i);
    for (size_t i = 0; std::getenv("WAVLLM_ALL_CLIPS") && i < all.size(); ++i)
        if (std::find(std::begin(kQuick), std::end(kQuick), i) == std::end(kQuick)) add(i);
    return clips;
}

}  // namespace

TEST_CASE("whisper base: sizes and prompt as published") {
    const WhisperConfig c = whisper_config(*open_checkpoint(real_model("whisper-base")));
    CHECK(c.dim == 512);
    CHECK(c.encoder_layers == 6);
    CHECK(c.decoder_layers == 6);
    CHECK(c.heads == 8);
    CHECK(c.encoder_ffn == 2048);
    CHECK(c.decoder_ffn == 2048);
    CHECK(c.mels == 80);
    CHECK(c.max_source_positions == 1500);
    CHECK(c.max_target_positions == 448);
    CHECK(c.vocab == 51865);
    const auto base = tokenizer("whisper-base");
    CHECK(whisper_prompt(c, *base, "en") == std::vector<int32_t>{50258, 50259, 50359, 50363});
    CHECK(whisper_prompt(c, *base, "de") == std::vector<int32_t>{50258, 50261, 50359, 50363});
    CHECK_THROWS_WITH_AS(whisper_prompt(c, *base, "xx"), doctest::Contains("\"xx\""), UsageError);
    CHECK_THROWS_AS(whisper_prompt(c, *base, "transcribe|><"), UsageError);
    // tiny is the English-only one
    const WhisperConfig tiny = whisper_config(*open_checkpoint(real_model("whisper-tiny")));
    CHECK(whisper_prompt(tiny, *tokenizer("whisper-tiny"), "en") == std::vector<int32_t>{50257, 50362});
    CHECK_THROWS_WITH_AS(whisper_prompt(tiny, *tokenizer("whisper-tiny"), "de"), doctest::Contains("only English"),
                         UsageError);
}

TEST_CASE("whisper base: log-mel and encoder of a real clip") {
    const auto golden = open_checkpoint(shared("golden/real/whisper-base.safetensors"));
    const auto facts = read_json_file(shared("golden/real/whisper-base.json"));
    const int all = std::getenv("WAVLLM_ALL_CLIPS") ? 3 : 1;
    for (int i = 3 - all; i < 3; ++i) {
        CAPTURE(i);
        const auto get = [&](const char* name) { return to_tensor(golden->at(fmt::format("c{}.{}", i, name))); };
        const auto samples =
            read_audio(shared("data/speech/" + facts["clips"][i]["audio"].get<std::string>()).string());
        const std::span<const float> clips[] = {samples};
        const WhisperFeatures f = whisper_features(clips, kernels::make_mel_filters(80), WhisperPadding::whole);
        const Tensor mel = transposed(get("log_mel"));
        CHECK(Golden::largest_difference(mel.values(), f.mel.slice(0, 0, mel.dim(0)).values()) < 3e-5);

        const Tensor encoded = whisper_base().encoder.forward(f.mel, f.borders);
        const std::vector<double> first = get("encoder_first_50_frames").values();
        double max_abs = 0;
        for (const double v : first) max_abs = std::max(max_abs, std::abs(v));
        CHECK(Golden::largest_difference(first, encoded.slice(0, 0, 50).values()) < 1e-4 * max_abs);
        const std::vector<double> norms = get("encoder_frame_norms").values(), v = encoded.values();
        REQUIRE(norms.size() * 512 == v.size());
        for (size_t t = 0; t < norms.size(); ++t) {
            double squares = 0;
            for (size_t d = 0; d < 512; ++d) squares += v[t * 512 + d] * v[t * 512 + d];
            CHECK(std::abs(std::sqrt(squares) - norms[t]) < 1e-4 * norms[t]);
        }
    }
}

TEST_CASE("whisper base: transcripts of real speech, token by token") {
    const auto base = tokenizer("whisper-base");
    const std::vector<Clip> clips = golden_clips();
    const TranscribeOptions options{.max_tokens = 100};
    if (std::getenv("WAVLLM_ALL_CLIPS")) {
        std::vector<std::span<const float>> samples;
        for (const Clip& clip : clips) samples.push_back(clip.samples);
        const std::vector<Transcript> result = transcribe(whisper_base(), *base, samples, options);
        for (size_t i = 0; i < clips.size(); ++i) {
            CAPTURE(clips[i].text);
            CHECK(result[i].ids == clips[i].ids);
            CHECK(result[i].text == clips[i].text);
        }
    }
    const Transcript alone = transcribe(whisper_base(), *base, clips[2].samples, options);
    CHECK(alone.ids == clips[2].ids);
    CHECK(alone.text == clips[2].text);
    CHECK(alone.complete);

    // A clip filled up with silence to 30 s and then another: two chunks, whose transcripts are known. With a third
    // clip they are decoded in one batch; the text is streamed in order within each clip.
    std::vector<float> joined = clips[0].samples;
    joined.resize(480000, 0.0f);
    joined.insert(joined.end(), clips[1].samples.begin(), clips[1].samples.end());
    const std::span<const float> both[] = {joined, clips[2].samples};
    std::string streamed[2];
    TranscribeOptions streaming = options;
    streaming.max_tokens = static_cast<int64_t>(clips[1].ids.size()) - 1;  // too few for the second chunk
    REQUIRE(clips[2].ids.size() < clips[1].ids.size() - 1);
    REQUIRE(clips[0].ids.size() < clips[1].ids.size() - 1);
    streaming.stream = [&](size_t clip, std::string_view text) { streamed[clip] += text; };
    const std::vector<Transcript> result = transcribe(whisper_base(), *base, both, streaming);
    std::vector<int32_t> expected = clips[0].ids;
    expected.insert(expected.end(), clips[1].ids.begin(), clips[1].ids.end() - 1);
    CHECK(result[0].ids == expected);
    CHECK_FALSE(result[0].complete);
    CHECK(result[0].text.starts_with(clips[0].text));
    CHECK((clips[0].text + clips[1].text).starts_with(result[0].text));
    CHECK(result[1].ids == alone.ids);
    CHECK(result[1].complete);
    for (size_t i = 0; i < 2; ++i) CHECK(streamed[i] == result[i].text);
}

TEST_CASE("whisper base: options and clips that make no sense are errors") {
    const auto base = tokenizer("whisper-base");
    const std::vector<float> samples(1600, 0.0f), none;
    const auto run = [&](std::span<const float> clip, const TranscribeOptions& options) {
        return transcribe(whisper_base(), *base, clip, options);
    };
    CHECK_THROWS_WITH_AS(run(none, {}), doctest::Contains("no samples"), UsageError);
    CHECK_THROWS_WITH_AS(run(samples, {.language = "klingon"}), doctest::Contains("klingon"), UsageError);
    for (const char* other : {"transcribe", "translate", "startoftranscript", "notimestamps", "endoftext"})
        CHECK_THROWS_WITH_AS(run(samples, {.language = other}), doctest::Contains("knows no language"), UsageError);
    for (const char* language : {"en", "zh", "su"})  // the first ones and the last
        CHECK(whisper_prompt(whisper_base().config(), *base, language).size() == 4);
    CHECK_THROWS_WITH_AS(run(samples, {.max_tokens = 445}), doctest::Contains("1 to 444"), UsageError);
    CHECK_THROWS_AS(run(samples, {.batch = 0}), UsageError);
    CHECK(transcribe(whisper_base(), *base, std::span<const std::span<const float>>{}).empty());
}
