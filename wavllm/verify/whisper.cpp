// Log-mel and Whisper: the tiny WavLLM's encoder on the three clips, and a whole small Whisper of Hugging Face.

#include "models/whisper/whisper.h"

#include "autograd/tape.h"
#include "data/audio.h"
#include "infer/generate.h"
#include "kernels/common/check.h"
#include "kernels/log_mel/log_mel.h"
#include "kernels/log_mel/log_mel_f64.h"
#include "models/whisper/features.h"
#include "wavllm/verify/golden_folder.h"
#include "wavllm/verify/tiny.h"

namespace wavllm::verify {

namespace {

constexpr int64_t kMelStep = 8, kFrameStep = 25;  // *_every_8th_frame, *_every_25th_frame

/// [rows, columns] of the upper left corner of the transpose.
Tensor transposed(const Tensor& t, int64_t rows, int64_t columns) {
    return t.slice(0, 0, columns).slice(1, 0, rows).transpose(0, 1).to_contiguous();
}

/// Per chunk [frames, width] -> every step-th frame, [chunks, frames / step, width].
Tensor every_nth_frame(const Tensor& chunks, int64_t step) {
    const Tensor frames_last = chunks.transpose(1, 2).to_contiguous();
    return every_nth(frames_last, step).transpose(1, 2).to_contiguous();
}

void add_mel(Tiny& t, const std::string& file, const Tensor& mel) {
    const int64_t chunks = mel.dim(0) / kernels::kMelChunkFrames, mels = mel.dim(1);
    const Tensor frames_last =
        mel.reshape({chunks, kernels::kMelChunkFrames, mels}).transpose(1, 2).to_contiguous();  // [chunks, mels, 3000]
    t.c.computed(file, "mel", frames_last);
    t.c.computed(file, "mel_every_8th_frame", every_nth(frames_last, kMelStep));
    if (t.c.has(file, "mel_last_chunk_head")) {
        const int64_t head = t.golden(file, "mel_last_chunk_head").dim(1);
        t.c.computed(file, "mel_last_chunk_head", frames_last.select(0, chunks - 1).slice(1, 0, head).to_contiguous());
    }
}

/// Encodes chunks of 30 s; returns [chunks, kept, dim].
Tensor encode(Tiny& t, const Sample& s, const WhisperEncoder& encoder, const Tensor& mel, const std::string& how) {
    const std::string file = s.file("audio");
    const Observer observer = [&](const std::string& name, const Tensor& value) {
        const std::string full = "whisper." + name;
        if (name == "encoded" || !t.c.has(file, full)) return;
        const Tensor& golden = t.golden(file, full);
        if (name == "conv1" && is_wavlm_layer(t, file)) {
            return;  // see wavlm.cpp
        } else if (name == "conv1") {
            t.c.computed(file, full, transposed(value, golden.dim(0), golden.dim(1)), how);
        } else {
            t.c.computed(file, full, value.slice(0, 0, golden.dim(0)).to_contiguous(), how);
        }
    };
    const Tensor borders = equal_borders(s.chunks, mel.dim(0) / s.chunks);
    const Tensor all = encoder.forward(mel, borders, &observer);
    const Tensor by_chunk = all.reshape({s.chunks, all.dim(0) / s.chunks, all.dim(1)});
    Tensor kept = by_chunk.slice(1, 0, s.kept_frames).to_contiguous();
    t.c.computed(file, "whisper.encoded", kept, how);
    t.c.computed(file, "whisper.encoded_every_25th_frame", every_nth_frame(kept, kFrameStep), how);
    return kept;
}

/// The mel of a clip's chunks, [chunks * 3000, mels], as the reference's encoders heard it in its float64 run, too
/// (notes.mel of case.json): the feature extractor of transformers rounds the Fourier transform to float32, and goes on in
/// float32 from the logarithm. In double, so that what follows is rounded no more.
Tensor mel_as_heard(std::span<const float> clip, int64_t chunks, const Tensor& filters) {
    using namespace kernels;
    constexpr int64_t kChunk = kMelChunkFrames * kMelHop;
    const int64_t mels = filters.dim(0);
    const double* filter = filters.data<double>();
    Tensor mel = Tensor::empty({chunks * kMelChunkFrames, mels}, DType::f64);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        const auto begin = static_cast<size_t>(chunk * kChunk), end = std::min(begin + kChunk, clip.size());
        std::vector<double> signal(clip.begin() + static_cast<int64_t>(begin),
                                   clip.begin() + static_cast<int64_t>(end));
        signal.resize(kChunk);
        double* to = mel.mutable_data<double>() + chunk * kMelChunkFrames * mels;
        for_rows(kMelChunkFrames, kMelFft * kMelBins, [&](int64_t t) {
            std::vector<double> power;
            for (const std::complex<double>& z : f64::spectrum(signal, t * kMelHop - kMelFft / 2))
                power.push_back(std::norm(std::complex<double>(std::complex<float>(z))));
            for (int64_t m = 0; m < mels; ++m) {
                double energy = 0;
                for (size_t f = 0; f < power.size(); ++f)
                    energy += filter[static_cast<size_t>(m) * power.size() + f] * power[f];
                to[t * mels + m] = static_cast<float>(std::log10(std::max(1e-10, energy)));
            }
        });
        const auto loudest = static_cast<float>(*std::max_element(to, to + kMelChunkFrames * mels));
        for (int64_t i = 0; i < kMelChunkFrames * mels; ++i)
            to[i] = (std::max(static_cast<float>(to[i]), loudest - 8.0f) + 4.0f) / 4.0f;
    }
    return mel;
}

void check_clip(Tiny& t, const Sample& s, const WhisperEncoder& encoder) {
    const std::string file = s.file("audio");
    const std::vector<float> samples = read_audio((t.folder / ("audio_" + s.name + ".wav")).string());
    t.c.computed(file, "waveform", Tensor::from(samples, {static_cast<int64_t>(samples.size())}));
    const std::span<const float> clip = samples;
    const Tensor filters = model_input(kernels::make_mel_filters(encoder.config().mels, model_dtype()));
    const WhisperFeatures features = whisper_features(std::span(&clip, 1), filters, WhisperPadding::whole);
    for (double kept : features.kept.values())
        if (static_cast<int64_t>(kept) != s.kept_frames)
            throw Error("sample {}: {} encoder frames are kept of a chunk, but case.json says {}", s.name, kept,
                        s.kept_frames);
    add_mel(t, file, features.mel);
    if (t.c.has(file, "mel")) {
        const Tensor mel = t.given(file, "mel").transpose(1, 2).to_contiguous();
        encode(t, s, encoder, mel.reshape({mel.dim(0) * mel.dim(1), mel.dim(2)}), "stored mel");
    }
    const Tensor mel = model_dtype() == DType::f64 ? mel_as_heard(clip, s.chunks, filters) : features.mel;
    t.encoded[s.name] = encode(t, s, encoder, mel, "our mel");
}

void check_hugging_face(Tiny& t) {
    const std::string file = "hf_whisper.safetensors";
    const nlohmann::json& k = t.description.at("hf_configs").at("hf_whisper");
    WhisperConfig config;
    config.dim = k.at("d_model");
    config.encoder_layers = k.at("encoder_layers");
    config.decoder_layers = k.at("decoder_layers");
    config.heads = k.at("encoder_attention_heads");
    config.encoder_ffn = k.at("encoder_ffn_dim");
    config.decoder_ffn = k.at("decoder_ffn_dim");
    config.mels = k.at("num_mel_bins");
    config.max_source_positions = k.at("max_source_positions");
    config.max_target_positions = k.at("max_target_positions");
    config.vocab = k.at("vocab_size");
    const auto checkpoint = open_checkpoint(t.folder / "hf_whisper_weights.safetensors");
    const Whisper whisper = Whisper::load(*checkpoint, config);

    const auto observer_of = [&](const std::string& part, int64_t layers, const std::string& last) {
        return Observer([=, &t](const std::string& name, const Tensor& value) {
            const auto add = [&](int64_t i) { t.c.computed(file, fmt::format("{}_hidden{}", part, i), value); };
            if (name == "embedded") add(0);
            for (int64_t i = 0; i + 1 < layers; ++i)
                if (name == fmt::format("layer{}", i)) add(i + 1);
            if (name == last) add(layers);  // the last hidden state is the one after the final norm
        });
    };
    const Observer encoder = observer_of("encoder", config.encoder_layers, "encoded"),
                   decoder = observer_of("decoder", config.decoder_layers, "decoded");
    const Tensor mel = t.given(file, "input_features");
    const Tensor encoded =
        whisper.encoder.forward(mel.transpose(0, 1).to_contiguous(), equal_borders(1, mel.dim(1)), &encoder);

    std::vector<int32_t> ids;
    for (double id : t.golden(file, "ids").values()) ids.push_back(static_cast<int32_t>(id));
    const auto n = static_cast<int64_t>(ids.size());
    const auto prefill = [&](int64_t count, WhisperCache& cache, const Observer* observer) {
        const int64_t slot[] = {0};
        whisper.decoder.listen(cache, 0, encoded);
        return whisper.decoder.prefill(
            cache, slot, Tensor::from(std::span<const int32_t>(ids).first(static_cast<size_t>(count)), {count}),
            equal_borders(1, count), observer);
    };
    WhisperCache all_at_once(config, 1, n, encoded.dim(0));
    t.c.computed(file, "logits", whisper.decoder.logits(prefill(n, all_at_once, &decoder)));

    constexpr int64_t kPrompt = 4;
    WhisperCache step_by_step(config, 1, n, encoded.dim(0));
    Tensor h = prefill(kPrompt, step_by_step, nullptr);
    std::vector<int32_t> greedy(ids.begin(), ids.begin() + kPrompt);
    while (static_cast<int64_t>(greedy.size()) < n) {
        const Tensor logits = whisper.decoder.logits(h.slice(0, h.dim(0) - 1, h.dim(0)).to_contiguous());
        greedy.push_back(argmax_of_row(logits.to(Device::cpu), 0));
        const int64_t slot[] = {0};
        if (static_cast<int64_t>(greedy.size()) < n)
            h = whisper.decoder.step(step_by_step, slot, Tensor::from(std::vector{greedy.back()}, {1}));
    }
    t.c.computed(file, "ids", ids_tensor(greedy));
}

}  // namespace

bool is_wavlm_layer(const Tiny& t, const std::string& file) {
    if (!t.c.has(file, "wavlm.conv1")) return false;
    const Tensor &ours = t.golden(file, "whisper.conv1"), &theirs = t.golden(file, "wavlm.conv1");
    return ours.dim(0) == theirs.dim(0) && ours.dim(1) >= theirs.dim(1) &&
           ours.slice(1, 0, theirs.dim(1)).values() == theirs.values();
}

void check_whisper(Tiny& t) {
    NoGrad no_grad;
    if (t.c.wanted("hf_whisper")) check_hugging_face(t);
    if (!t.wants_encoders()) return;
    const WhisperEncoder encoder = t.model.released().whisper();
    for (const Sample& s : t.samples) check_clip(t, s, encoder);
}

}  // namespace wavllm::verify
