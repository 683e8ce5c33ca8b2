#include "train/pretrain/whisper.h"

#include <algorithm>

#include "autograd/ops/cross_entropy.h"
#include "autograd/ops/linear.h"
#include "autograd/tape.h"
#include "data/audio.h"
#include "data/manifest.h"
#include "data/tokenizer/bytes.h"
#include "kernels/common/check.h"
#include "kernels/log_mel/log_mel.h"
#include "models/known_sizes.h"
#include "models/whisper/features.h"

namespace wavllm {

namespace {

constexpr double kLongestSeconds = 30;

template <class Options, class F>
void each_option(Options& o, F&& f) {
    f("size", o.size);
    f("train", o.train);
    f("valid", o.valid);
    f("batch_seconds", o.batch_seconds);
    each_loop_option(o.run, f);
}

int32_t likeliest(const Tensor& logits, int64_t row) {
    const float* p = logits.data<float>() + row * logits.dim(1);
    return static_cast<int32_t>(std::max_element(p, p + logits.dim(1)) - p);
}

}  // namespace

nlohmann::ordered_json WhisperPretrainOptions::to_json() const {
    return options_json("whisper", [&](auto&& f) { each_option(*this, f); });
}

WhisperPretrainOptions WhisperPretrainOptions::from_json(const nlohmann::json& values, const std::string& file) {
    WhisperPretrainOptions o;
    read_options(values, "whisper", file, [&](auto&& f) { each_option(o, f); });
    o.check(file);
    return o;
}

void WhisperPretrainOptions::check(const std::string& where) const {
    run.check(where);
    whisper_size(size);
    check_option(where, "batch_seconds", batch_seconds, 0, 1e6);
}

WhisperConfig whisper_size(const std::string& size) {
    if (size != "micro") throw UsageError("pretrain whisper: the only size is micro, not \"{}\"", size);
    WhisperConfig c = known_whisper_encoder("whisper-micro");
    c.decoder_layers = 2;
    c.decoder_ffn = c.encoder_ffn;
    c.vocab = kByteVocab;
    return c;
}

std::vector<TranscribedClip> load_transcribed_clips(std::span<const std::string> manifests, int64_t mels,
                                                    int64_t longest, int64_t& left_out,
                                                    const std::function<void(int64_t, int64_t)>& progress) {
    std::vector<ManifestRow> rows;
    for (const std::string& manifest : manifests)
        for (ManifestRow& row : read_manifest(manifest)) rows.push_back(std::move(row));
    check_audio_exists(rows);
    const Tensor filters = kernels::make_mel_filters(mels);
    std::vector<TranscribedClip> clips;
    left_out = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
        const ManifestRow& row = rows[i];
        if (progress) progress(static_cast<int64_t>(i), static_cast<int64_t>(rows.size()));
        std::vector<float> samples;
        if (row.with_speech && !row.audio.empty() && !row.tgt_text.empty() &&
            static_cast<int64_t>(row.tgt_text.size()) <= longest)
            samples = read_audio(row.audio.string(), kSampleRate,
                                 {row.start_frame.value_or(0), row.end_frame.value_or(AudioSpan::kToEnd)});
        if (samples.empty() || static_cast<double>(samples.size()) > kLongestSeconds * kSampleRate) {
            ++left_out;
            continue;
        }
        const std::span<const float> one = samples;
        clips.push_back({row.id, row.tgt_text, whisper_features({&one, 1}, filters, WhisperPadding::tight).mel});
    }
    if (clips.empty())
        throw UsageError("pretrain whisper: the manifests have no speech of at most {} s with a text of 1 to {} bytes",
                         kLongestSeconds, longest);
    return clips;
}

WhisperPretraining::WhisperPretraining(const PretrainFolder& folder, WhisperPretrainOptions options,
                                       std::vector<TranscribedClip> clips, std::vector<TranscribedClip> valid)
    : folder_(folder),
      options_(std::move(options)),
      clips_(std::move(clips)),
      valid_(std::move(valid)),
      model_(whisper_size(options_.size), options_.run.seed) {
    for (const auto* some : {&clips_, &valid_})
        for (const TranscribedClip& c : *some)
            if (static_cast<int64_t>(c.text.size()) >= model_.config().max_target_positions)
                throw UsageError("pretrain whisper: the text of {} has {} bytes, but at most {} are possible", c.id,
                                 c.text.size(), model_.config().max_target_positions - 1);
    std::vector<double> seconds;
    for (const TranscribedClip& c : clips_) {
        seconds.push_back(static_cast<double>(c.mel.dim(0)) / 100);
        if (seconds.back() > options_.batch_seconds)
            throw UsageError(
                "pretrain whisper: {} has {:.2f} s with its silence, but a batch only {} s; raise --batch-seconds",
                c.id, seconds.back(), options_.batch_seconds);
    }
    sampler_.emplace(seconds, SamplerConfig{.batch_seconds = options_.batch_seconds,
                                            .bucket_batches = 1,  // end to end, so no length costs padding
                                            .seed = options_.run.seed});
}

WhisperPretraining::Batch WhisperPretraining::make_batch(std::span<const TranscribedClip* const> clips) {
    PurposeScope scope(Purpose::data);
    const ByteTokenizer tokenizer(kByteVocab);
    std::vector<int32_t> ids, targets;
    std::vector<int64_t> texts, frames;
    int64_t total = 0;
    for (const TranscribedClip* c : clips) {
        ids.push_back(*tokenizer.bos());
        for (const int32_t id : tokenizer.encode(c->text)) {
            ids.push_back(id);
            targets.push_back(id);
        }
        targets.push_back(*tokenizer.eos());
        texts.push_back(static_cast<int64_t>(c->text.size()) + 1);
        frames.push_back(c->mel.dim(0));
        total += frames.back();
    }
    Batch b;
    b.mel = Tensor::empty({total, clips[0]->mel.dim(1)});
    int64_t at = 0;
    for (const TranscribedClip* c : clips) {
        b.mel.slice(0, at, at + c->mel.dim(0)).assign(c->mel);
        at += c->mel.dim(0);
    }
    b.mel = b.mel.to(model_device());
    b.mel_borders = kernels::make_borders(frames);
    b.ids = Tensor::from(ids, {static_cast<int64_t>(ids.size())});
    b.targets = Tensor::from(targets, {static_cast<int64_t>(targets.size())});
    b.borders = kernels::make_borders(texts);
    return b;
}

Tensor WhisperPretraining::hidden(const Batch& b) const {
    PurposeScope scope(Purpose::activations);
    return model_.decode(b.ids, b.borders, model_.encode(b.mel, b.mel_borders), model_.frame_borders(b.mel_borders));
}

nlohmann::ordered_json WhisperPretraining::validate() const {
    const NoGrad no_grad;
    double sum = 0;
    int64_t bytes = 0, right = 0;
    for (const TranscribedClip& c : valid_) {
        const TranscribedClip* one = &c;
        const Batch b = make_batch({&one, 1});
        const Tensor h = hidden(b);
        const int64_t n = b.targets.numel();
        sum += cross_entropy(h, model_.embedding(), b.targets, 1).loss.item();
        const Tensor logits = linear(h, model_.embedding()).to(Device::cpu);
        for (int64_t i = 0; i < n; ++i) right += likeliest(logits, i) == b.targets.data<int32_t>()[i];
        bytes += n;
    }
    const auto n = static_cast<double>(bytes);
    return {{"valid", "bytes"}, {"loss", sum / n}, {"accuracy", static_cast<double>(right) / n}, {"bytes", bytes}};
}

PretrainReport WhisperPretraining::run(const std::function<void(int64_t, const nlohmann::ordered_json&)>& after_step) {
    PretrainCallbacks callbacks;
    callbacks.loss = [&](int64_t step, nlohmann::ordered_json& line) {
        std::vector<const TranscribedClip*> clips;
        for (const size_t i : sampler_->batch(step)) clips.push_back(&clips_[i]);
        const Batch b = make_batch(clips);
        const auto n = static_cast<double>(b.targets.numel());
        const Tensor loss = cross_entropy(hidden(b), model_.embedding(), b.targets, n).loss;
        line["loss"] = loss.item();
        line["target_tokens"] = b.targets.numel();
        line["audio_seconds"] = static_cast<double>(b.mel.dim(0)) / 100;
        return loss;
    };
    if (!valid_.empty()) callbacks.validate = [&] { return std::vector{validate()}; };
    callbacks.step = after_step;
    const PretrainReport report = pretrain(folder_, model_.parameters(), options_.run, callbacks);
    if (!report.stopped) write_model(folder_.model(), model_.tensors(), config_json(model_.config()));
    return report;
}

std::string transcribe_bytes(const Whisper& whisper, const Tensor& mel, int64_t longest) {
    const NoGrad no_grad;
    const ByteTokenizer tokenizer(static_cast<int32_t>(whisper.config().vocab));
    const int64_t frames = mel.dim(0), one = 1, slots[] = {0};
    const Tensor encoded =
        whisper.encoder.forward(mel.to(whisper.encoder.device()), kernels::make_borders({&frames, 1}));
    const int64_t capacity = std::min(longest + 1, whisper.config().max_target_positions);
    WhisperCache cache(whisper.config(), 1, capacity, encoded.dim(0), encoded.device());
    whisper.decoder.listen(cache, 0, encoded);
    std::vector<int32_t> ids;
    Tensor next = Tensor::from(std::vector<int32_t>{*tokenizer.bos()}, {1});
    while (static_cast<int64_t>(ids.size()) < std::min(longest, capacity - 1)) {
        const Tensor h = ids.empty() ? whisper.decoder.prefill(cache, slots, next, kernels::make_borders({&one, 1}))
                                     : whisper.decoder.step(cache, slots, next);
        const int32_t id = likeliest(whisper.decoder.logits(h).to(Device::cpu), 0);
        if (id == *tokenizer.eos()) break;
        ids.push_back(id);
        next = Tensor::from(std::vector<int32_t>{id}, {1});
    }
    return tokenizer.decode(ids);
}

}  // namespace wavllm
