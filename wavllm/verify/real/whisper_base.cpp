// Whisper base in f32: log-mel, encoder frames, and greedy transcripts (plain argmax, no token suppressed).

#include <cmath>

#include "autograd/tape.h"
#include "data/audio.h"
#include "data/json.h"
#include "infer/whisper_transcribe.h"
#include "kernels/log_mel/log_mel.h"
#include "models/whisper/features.h"
#include "wavllm/verify/golden_folder.h"
#include "wavllm/verify/real/real.h"

namespace wavllm::verify {

namespace {

constexpr const char *kFile = "whisper-base.safetensors", *kTextFile = "whisper-base.json";
constexpr int64_t kMostTokens = 100;

/// The reference's own float32 FFT moves a log-mel by up to 3e-5; both sides' float32 moves the encoder's result.
RealTolerance tolerance_of(const std::string& name) {
    return name.ends_with("log_mel") ? RealTolerance{1e-4, false} : RealTolerance{1e-4, true};
}

Tensor frame_norms(const Tensor& frames) {
    Tensor norms = Tensor::empty({frames.dim(0)});
    for (int64_t i = 0; i < frames.dim(0); ++i) {
        double squares = 0;
        for (double v : frames.select(0, i).values()) squares += v * v;
        norms.mutable_data<float>()[i] = static_cast<float>(std::sqrt(squares));
    }
    return norms;
}

/// Log-mel and encoder frames of a clip, padded to 30 s.
void check_frames(Real& r, const std::string& clip, const WhisperEncoder& encoder, const Tensor& filters,
                  std::span<const float> samples) {
    const WhisperFeatures features = whisper_features(std::span(&samples, 1), filters, WhisperPadding::whole);
    // the golden one keeps the clip's frames and a few of the padding
    const int64_t kept = r.c.golden(kFile, clip + "log_mel").dim(1);
    r.c.computed(kFile, clip + "log_mel", features.mel.slice(0, 0, kept).transpose(0, 1).to_contiguous());
    const Tensor frames = encoder.forward(features.mel, features.borders);
    const int64_t first = r.c.golden(kFile, clip + "encoder_first_50_frames").dim(0);
    r.c.computed(kFile, clip + "encoder_first_50_frames", frames.slice(0, 0, first).to_contiguous());
    r.c.computed(kFile, clip + "encoder_frame_norms", frame_norms(frames));
}

void expect_texts(Comparison& c, const nlohmann::json& golden) {
    const auto ids = [](const nlohmann::json& j) { return ids_tensor(j.get<std::vector<int64_t>>()); };
    c.expect({.file = kTextFile, .name = "prefix_ids", .value = ids(golden.at("prefix_ids"))});
    for (size_t i = 0; i < golden.at("clips").size(); ++i) {
        const nlohmann::json& clip = golden["clips"][i];
        const auto audio = clip.at("audio").get<std::string>();
        c.expect({.file = kTextFile,
                  .name = fmt::format("c{}.greedy_ids", i),
                  .what = audio,
                  .value = ids(clip.at("greedy_ids"))});
        c.expect({.file = kTextFile,
                  .name = fmt::format("c{}.greedy_text", i),
                  .what = audio,
                  .value = text_tensor(clip.at("greedy_text").get<std::string>())});
    }
}

}  // namespace

void check_whisper_base(Real& r) {
    const nlohmann::json golden = read_json_file(r.folder / kTextFile);
    expect_real_file(r.c, r.folder / kFile, tolerance_of);
    expect_texts(r.c, golden);
    if (!r.c.wanted("whisper-base.")) return;

    NoGrad no_grad;
    const auto checkpoint = open_checkpoint(r.model_file("whisper-base"));
    const Whisper whisper = Whisper::load(*checkpoint);
    const auto tokenizer = whisper_tokenizer(r);
    const Tensor filters = kernels::make_mel_filters(whisper.config().mels);
    r.c.computed(kTextFile, "prefix_ids", ids_tensor(whisper_prompt(whisper.config(), *tokenizer, "en")));

    const nlohmann::json& clips = golden.at("clips");
    std::vector<std::vector<float>> samples;
    std::vector<size_t> spoken;
    for (size_t i = 0; i < clips.size(); ++i) {
        const std::string clip = fmt::format("c{}.", i);
        const bool frames = r.c.wanted(kFile, clip), text = r.c.wanted(kTextFile, clip);
        if (!frames && !text) continue;
        const auto audio = clips[i].at("audio").get<std::string>();
        std::vector<float> own = read_audio((r.data / "speech" / audio).string());
        if (frames) check_frames(r, clip, whisper.encoder, filters, own);
        if (!text) continue;
        spoken.push_back(i);
        samples.push_back(std::move(own));
    }
    TranscribeOptions options;
    options.max_tokens = kMostTokens;
    const std::vector<std::span<const float>> views(samples.begin(), samples.end());
    const auto transcripts = transcribe(whisper, *tokenizer, views, options);
    for (size_t i = 0; i < spoken.size(); ++i) {
        r.c.computed(kTextFile, fmt::format("c{}.greedy_ids", spoken[i]), ids_tensor(transcripts[i].ids));
        r.c.computed(kTextFile, fmt::format("c{}.greedy_text", spoken[i]), text_tensor(transcripts[i].text));
    }
}

}  // namespace wavllm::verify
