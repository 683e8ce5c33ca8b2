#include "models/whisper/features.h"

#include <algorithm>

#include "kernels/common/check.h"
#include "kernels/log_mel/log_mel.h"

namespace wavllm {

namespace {

constexpr int64_t kRate = 16000;
constexpr int64_t kChunkSamples = kernels::kMelChunkFrames * kernels::kMelHop;

int64_t mel_frames(int64_t samples, WhisperPadding padding) {
    if (padding == WhisperPadding::whole) return kernels::kMelChunkFrames;
    const int64_t padded = (samples + kRate + kernels::kMelHop - 1) / kernels::kMelHop;
    return std::min(padded, kernels::kMelChunkFrames);
}

}  // namespace

WhisperPadding whisper_padding(std::string_view name) {
    if (name == "30s") return WhisperPadding::whole;
    if (name == "tight") return WhisperPadding::tight;
    throw UsageError("whisper padding \"{}\" is unknown; use \"30s\" or \"tight\"", name);
}

int64_t whisper_frames_kept(int64_t samples) {
    const int64_t hops = (samples + kernels::kMelHop - 1) / kernels::kMelHop;
    return hops < 1 ? 0 : (hops - 1) / 2 + 1;
}

WhisperFeatures whisper_features(std::span<const std::span<const float>> clips, const Tensor& mel_filters,
                                 WhisperPadding padding) {
    const auto chunks_of = [](std::span<const float> clip) {
        return (static_cast<int64_t>(clip.size()) + kChunkSamples - 1) / kChunkSamples;
    };
    PurposeScope scope(Purpose::data);
    WhisperFeatures f;
    f.clip_borders = Tensor::zeros({static_cast<int64_t>(clips.size()) + 1}, DType::i64);
    int64_t* clip_borders = f.clip_borders.mutable_data<int64_t>();
    for (size_t i = 0; i < clips.size(); ++i) {
        if (clips[i].empty()) throw UsageError("whisper: clip {} of the batch has no samples", i);
        clip_borders[i + 1] = clip_borders[i] + chunks_of(clips[i]);
    }
    const int64_t chunks = clip_borders[clips.size()];
    f.borders = Tensor::zeros({chunks + 1}, DType::i64);
    f.kept = Tensor::zeros({chunks}, DType::i64);
    int64_t *borders = f.borders.mutable_data<int64_t>(), *kept = f.kept.mutable_data<int64_t>();
    const auto samples_of = [&](size_t clip, int64_t chunk) {
        const size_t at = static_cast<size_t>((chunk - clip_borders[clip]) * kChunkSamples);
        return clips[clip].subspan(at, std::min(static_cast<size_t>(kChunkSamples), clips[clip].size() - at));
    };
    for (size_t i = 0; i < clips.size(); ++i)
        for (int64_t c = clip_borders[i]; c < clip_borders[i + 1]; ++c) {
            const auto n = static_cast<int64_t>(samples_of(i, c).size());
            borders[c + 1] = borders[c] + mel_frames(n, padding);
            // the first chunk is the longest of its clip
            kept[c] = padding == WhisperPadding::whole
                          ? whisper_frames_kept(static_cast<int64_t>(samples_of(i, clip_borders[i]).size()))
                          : whisper_frames_kept(n);
        }
    const int64_t mels = mel_filters.dim(0);
    f.mel = Tensor::empty({borders[chunks], mels}, mel_filters.dtype(), mel_filters.device());
    for (size_t i = 0; i < clips.size(); ++i)
        for (int64_t c = clip_borders[i]; c < clip_borders[i + 1]; ++c) {
            const std::span<const float> samples = samples_of(i, c);
            const Tensor given = Tensor::from(samples, {static_cast<int64_t>(samples.size())});
            const Tensor x = mel_filters.dtype() == DType::f64 ? given.to(DType::f64) : given.to(mel_filters.device());
            f.mel.slice(0, borders[c], borders[c + 1])
                .assign(kernels::log_mel(x, mel_filters, borders[c + 1] - borders[c]));
        }
    return f;
}

KeptFrames keep_frames(const Tensor& encoded, const Tensor& frame_borders, const Tensor& kept) {
    const auto in = kernels::borders_of("whisper frames", frame_borders, encoded.dim(0));
    kernels::expect("whisper frames", "kept", kept, {frame_borders.numel() - 1}, DType::i64);
    const int64_t* n = kept.data<int64_t>();
    const int64_t chunks = kept.numel(), d = encoded.dim(1);
    for (int64_t c = 0; c < chunks; ++c)
        if (const int64_t have = in[static_cast<size_t>(c) + 1] - in[static_cast<size_t>(c)]; n[c] > have)
            throw ShapeError("whisper frames: {} frames of chunk {} are to be kept, but it has {}", n[c], c, have);
    KeptFrames result{{}, kernels::make_borders({n, static_cast<size_t>(chunks)})};
    const int64_t* out = result.borders.data<int64_t>();
    if (out[chunks] == encoded.dim(0)) {
        result.rows = encoded;
        return result;
    }
    result.rows = Tensor::empty({out[chunks], d}, encoded.dtype(), encoded.device());
    for (int64_t c = 0; c < chunks; ++c) {
        const int64_t begin = in[static_cast<size_t>(c)];
        result.rows.slice(0, out[c], out[c] + n[c]).assign(encoded.slice(0, begin, begin + n[c]));
    }
    return result;
}

}  // namespace wavllm
