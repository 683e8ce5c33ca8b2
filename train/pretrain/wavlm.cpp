#include "train/pretrain/wavlm.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "autograd/tape.h"
#include "data/audio.h"
#include "data/kmeans.h"
#include "data/manifest.h"
#include "data/mfcc.h"
#include "data/sha256.h"
#include "kernels/common/check.h"
#include "models/checkpoint/checkpoint.h"
#include "models/wavlm/waveform.h"
#include "models/weights.h"
#include "tensor/philox.h"
#include "train/training_state.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// Calls f(name, value) for every option, in the order of pretrain.json.
template <class Options, class F>
void each_option(Options& o, F&& f) {
    f("size", o.size);
    f("train", o.train);
    f("valid", o.valid);
    f("targets", o.targets);
    f("layer", o.layer);
    f("clusters", o.clusters);
    f("kmeans_iterations", o.kmeans_iterations);
    f("code_dim", o.code_dim);
    f("batch_seconds", o.batch_seconds);
    f("crop_seconds", o.crop_seconds);
    f("visible_weight", o.visible_weight);
    f("alter_share", o.alter_share);
    f("mask_start", o.spans.start);
    f("mask_length", o.spans.length);
    f("mix_share", o.mix.share);
    f("mix_noise_share", o.mix.noise_share);
    each_loop_option(o.run, f);
}

int64_t samples_of(int64_t frames, const WavlmConfig& config) {
    return config.window() + (frames - 1) * config.hop();
}

/// The positional convolution's weight as Hugging Face keeps it, by weight norm: v is w, and g the lengths of v's taps. Folded
/// again it may differ from w in the last bit.
void add_weight_norm(std::vector<std::pair<std::string, Tensor>>& to, const std::string& name, const Tensor& w) {
    const Tensor v = w.detach().to(Device::cpu);
    const int64_t rows = v.dim(0) * v.dim(1), taps = v.dim(2);
    Tensor g = Tensor::empty({1, 1, taps});
    for (int64_t k = 0; k < taps; ++k) {
        double sum = 0;
        for (int64_t r = 0; r < rows; ++r) sum += std::pow(static_cast<double>(v.data<float>()[r * taps + k]), 2);
        g.mutable_data<float>()[k] = static_cast<float>(std::sqrt(sum));
    }
    to.emplace_back(name + "_g", g);
    to.emplace_back(name + "_v", v);
}

std::vector<std::pair<std::string, Tensor>> hugging_face_tensors(const WavlmEncoder& encoder) {
    std::vector<std::pair<std::string, Tensor>> tensors;
    for (const Parameter& p : encoder.parameters())
        if (p.name == "encoder.pos_conv_embed.conv.weight")
            add_weight_norm(tensors, p.name, p.tensor);
        else
            tensors.emplace_back(p.name, p.tensor);
    return tensors;
}

}  // namespace

ordered_json WavlmPretrainOptions::to_json() const {
    return options_json("wavlm", [&](auto&& f) { each_option(*this, f); });
}

WavlmPretrainOptions WavlmPretrainOptions::from_json(const nlohmann::json& values, const std::string& file) {
    WavlmPretrainOptions o;
    read_options(values, "wavlm", file, [&](auto&& f) { each_option(o, f); });
    o.check(file);
    return o;
}

void WavlmPretrainOptions::check(const std::string& where) const {
    run.check(where);
    const WavlmConfig config = wavlm_size(size);
    const auto whole = [&](const char* name, int64_t value, double least, double most) {
        check_option(where, name, static_cast<double>(value), least, most);
    };
    constexpr double longest = 1e6;  // seconds
    whole("clusters", clusters, 1, 1 << 20);
    whole("kmeans_iterations", kmeans_iterations, 1, 1e6);
    whole("code_dim", code_dim, 1, 1 << 20);
    whole("mask_length", spans.length, 1, 1 << 20);
    check_option(where, "mask_start", spans.start, 0, 1);
    if (spans.start == 1) throw UsageError("{}: mask_start = 1 would hide every frame; HuBERT's is 0.08", where);
    check_option(where, "mix_share", mix.share, 0, 1);
    check_option(where, "mix_noise_share", mix.noise_share, 0, 1);
    check_option(where, "alter_share", alter_share, 0, 1);
    check_option(where, "visible_weight", visible_weight, 0, 1e6);
    check_option(where, "batch_seconds", batch_seconds, 0, longest);
    check_option(where, "crop_seconds", crop_seconds, 0, longest);
    if (config.frames(static_cast<int64_t>(crop_seconds * kSampleRate)) < 2)
        throw UsageError("{}: crop_seconds = {} is shorter than two frames, {} s", where, crop_seconds,
                         static_cast<double>(samples_of(2, config)) / kSampleRate);
    if (targets == "mfcc" && layer != 0)
        throw UsageError("{}: layer {} of which encoder? Name its folder as targets (--targets), or leave --layer out",
                         where, layer);
}

WavlmConfig wavlm_size(const std::string& size) {
    if (size == "micro") return WavlmConfig::micro();
    if (size == "small") return WavlmConfig::small();
    if (size == "base") return {};
    if (size == "micro-large") {
        WavlmConfig c = WavlmConfig::micro();
        c.conv_layer_norm = c.pre_norm = true;
        return c;
    }
    throw UsageError("pretrain wavlm: the sizes are micro, micro-large, small and base, not \"{}\"", size);
}

std::vector<PretrainClip> load_pretrain_clips(std::span<const std::string> manifests, int64_t least,
                                              const std::function<void(int64_t, int64_t)>& progress) {
    std::vector<ManifestRow> rows;
    for (const std::string& manifest : manifests)
        for (ManifestRow& row : read_manifest(manifest))
            if (!row.audio.empty()) rows.push_back(std::move(row));
    check_audio_exists(rows);
    std::set<std::tuple<std::string, int64_t, int64_t>> seen;
    std::vector<PretrainClip> clips;
    for (size_t i = 0; i < rows.size(); ++i) {
        const ManifestRow& row = rows[i];
        if (progress) progress(static_cast<int64_t>(i), static_cast<int64_t>(rows.size()));
        const AudioSpan span{row.start_frame.value_or(0), row.end_frame.value_or(AudioSpan::kToEnd)};
        if (!seen.emplace(fs::weakly_canonical(row.audio).string(), span.start, span.end).second) continue;
        PretrainClip clip{row.id, row.speaker, read_audio(row.audio.string(), kSampleRate, span), {}};
        if (static_cast<int64_t>(clip.samples.size()) < least)
            throw FileError("{}: {} has {} samples at 16 kHz, but {} are needed at least; leave it out of the manifest",
                            row.where, row.audio.string(), clip.samples.size(), least);
        clips.push_back(std::move(clip));
    }
    if (clips.empty()) throw UsageError("pretrain: the manifests name no sound");
    return clips;
}

Tensor mfcc_of_frames(std::span<const float> samples, const WavlmConfig& config) {
    if (config.window() != kMfccWindow || config.hop() != 2 * kMfccHop)
        throw UsageError("pretrain wavlm: frames of {} samples every {}; targets of MFCC are for {} every {}",
                         config.window(), config.hop(), kMfccWindow, 2 * kMfccHop);
    const Tensor all = mfcc(samples);
    const int64_t frames = config.frames(static_cast<int64_t>(samples.size()));
    Tensor every_second = Tensor::empty({frames, kMfccs});
    for (int64_t t = 0; t < frames; ++t)
        std::copy_n(all.data<float>() + 2 * t * kMfccs, kMfccs, every_second.mutable_data<float>() + t * kMfccs);
    return every_second;
}

WavlmEncoder load_wavlm(const fs::path& folder) {
    const auto checkpoint = open_checkpoint(fs::exists(folder / "pretrain.json") ? folder / "model" : folder);
    const Weights weights(*checkpoint);
    WavlmEncoder encoder = WavlmEncoder::load(weights, wavlm_config(*checkpoint));
    weights.finish();
    return encoder;
}

Tensor hidden_states(const WavlmEncoder& encoder, std::span<const float> samples) {
    const auto n = static_cast<int64_t>(samples.size());
    std::vector<float> heard(samples.begin(), samples.end());
    if (encoder.config().normalizes()) normalize_waveform(heard);
    return encoder.forward(Tensor::from(heard, {n}), kernels::make_borders({&n, 1}));
}

WavlmPretraining::WavlmPretraining(const PretrainFolder& folder, WavlmPretrainOptions options,
                                   std::vector<PretrainClip> clips, std::vector<PretrainClip> valid)
    : folder_(folder),
      options_(std::move(options)),
      config_(wavlm_size(options_.size)),
      clips_(std::move(clips)),
      valid_(std::move(valid)),
      encoder_(config_, options_.run.seed),
      head_(config_.dim, options_.code_dim, options_.clusters, options_.run.seed) {
    if (options_.targets != "mfcc") {
        teacher_ = load_wavlm(options_.targets);
        if (options_.layer == 0) options_.layer = (teacher_.config().layers + 1) / 2;
        if (options_.layer < 1 || options_.layer > teacher_.config().layers)
            throw UsageError("pretrain wavlm: --layer {}, but {} has layers 1 to {}", options_.layer, options_.targets,
                             teacher_.config().layers);
    }
    options_.check("pretrain wavlm");
    std::vector<double> seconds;
    for (const PretrainClip& c : clips_) {
        if (config_.frames(static_cast<int64_t>(c.samples.size())) < 2)  // one to hide, one to hear
            throw UsageError("pretrain wavlm: {} has {} samples, but two frames take {}; leave it out", c.id,
                             c.samples.size(), samples_of(2, config_));
        seconds.push_back(std::min(options_.crop_seconds, static_cast<double>(c.samples.size()) / kSampleRate));
        if (seconds.back() > options_.batch_seconds)
            throw UsageError(
                "pretrain wavlm: {} has {:.2f} s with --crop-seconds {}, but a batch only {} s; raise --batch-seconds "
                "or "
                "cut clips shorter by --crop-seconds",
                c.id, seconds.back(), options_.crop_seconds, options_.batch_seconds);
    }
    make_targets();
    sampler_.emplace(seconds, SamplerConfig{.batch_seconds = options_.batch_seconds,
                                            .bucket_batches = 1,  // end to end, so no length costs padding
                                            .seed = options_.run.seed});
}

Tensor WavlmPretraining::target_features(const PretrainClip& clip) const {
    if (options_.targets == "mfcc") return mfcc_of_frames(clip.samples, config_);
    const Tensor hidden = hidden_states(teacher_, clip.samples);
    return hidden.select(0, options_.layer).to_contiguous().to(Device::cpu);
}

void WavlmPretraining::make_targets() {
    PurposeScope scope(Purpose::data);
    std::vector<Tensor> features;
    int64_t width = 0;
    Sha256 heard;
    for (const PretrainClip& c : clips_) {
        heard.update(std::as_bytes(std::span(c.samples)));
        features.push_back(target_features(c));
        clusters_.frames += features.back().dim(0);
        width = features.back().dim(1);
    }
    const std::string recordings = heard.hex(), teacher = options_.targets == "mfcc" ? "mfcc" : teacher_.fingerprint();
    const fs::path file = folder_.path() / "clusters.safetensors";
    Tensor centres = Tensor::empty({options_.clusters, width});
    if (fs::exists(file)) {
        const auto stored = open_checkpoint(file);
        copy_into(*stored, "centres", centres);
        const auto value = [&](const std::string& name) {
            const nlohmann::json all = stored->metadata().value("__metadata__", nlohmann::json::object());
            if (!all.contains(name) || !all[name].is_string())
                throw FileError("{}: it does not say its \"{}\"; start a new run", file.string(), name);
            return all[name].get<std::string>();
        };
        const auto expect = [&](const std::string& name, const std::string& now, const char* what) {
            if (const std::string then = value(name); then != now)
                throw FileError("{}: its clusters are of {} {}, but now there are {}; start a new run", file.string(),
                                what, then, now);
        };
        expect("frames", std::to_string(clusters_.frames), "so many frames:");
        expect("recordings", recordings, "recordings with the hash");
        expect("teacher", teacher, "an encoder with the hash");
        expect("layer", std::to_string(options_.layer), "layer");
        try {
            clusters_.inertia = std::stod(value("inertia"));
            clusters_.iterations = std::stol(value("iterations"));
        } catch (const std::logic_error&) {  // what stod and stol throw
            throw FileError("{}: \"inertia\" and \"iterations\" are not numbers; start a new run", file.string());
        }
    } else {
        Tensor all = Tensor::empty({clusters_.frames, width});
        int64_t at = 0;
        for (const Tensor& f : features) {
            all.slice(0, at, at + f.dim(0)).assign(f);
            at += f.dim(0);
        }
        const KMeans found = kmeans(
            all, {.clusters = options_.clusters, .iterations = options_.kmeans_iterations, .seed = options_.run.seed});
        centres = found.centres;
        clusters_.inertia = found.inertia;
        clusters_.iterations = found.iterations;
        TensorsToStore stored;
        stored.add("centres", centres);
        write_safetensors(file, stored.tensors(),
                          {{"inertia", fmt::format("{}", found.inertia)},
                           {"iterations", std::to_string(found.iterations)},
                           {"frames", std::to_string(clusters_.frames)},
                           {"recordings", recordings},
                           {"teacher", teacher},
                           {"layer", std::to_string(options_.layer)}});
    }
    std::vector<int64_t> counts(static_cast<size_t>(options_.clusters));
    const auto set = [&](PretrainClip& clip, const Tensor& x) {
        const Tensor targets = nearest_centres(x, centres);
        clip.targets.assign(targets.data<int32_t>(), targets.data<int32_t>() + targets.numel());
    };
    for (size_t i = 0; i < clips_.size(); ++i) {
        set(clips_[i], features[i]);
        for (const int32_t t : clips_[i].targets) ++counts[static_cast<size_t>(t)];
    }
    for (PretrainClip& c : valid_) set(c, target_features(c));
    clusters_.largest =
        static_cast<double>(*std::max_element(counts.begin(), counts.end())) / static_cast<double>(clusters_.frames);
}

Parameters WavlmPretraining::parameters() const {
    Parameters all = encoder_.parameters();
    all.insert(all.end(), head_.parameters().begin(), head_.parameters().end());
    return all;
}

MaskedClip WavlmPretraining::masked_clip(const PretrainClip& clip, const ClipDraw& draw, bool random_part) const {
    const auto frames = static_cast<int64_t>(clip.targets.size());
    const int64_t kept = std::min(frames, config_.frames(static_cast<int64_t>(options_.crop_seconds * kSampleRate)));
    const double place =
        random_part ? static_cast<double>(
                          Philox(draw.seed, "pretrain.crop", draw.step).uniform(static_cast<uint64_t>(draw.clip)))
                    : 0;
    const auto first = static_cast<int64_t>(place * static_cast<double>(frames - kept + 1));
    const auto from = clip.samples.begin() + first * config_.hop();
    return {{from, from + samples_of(kept, config_)},
            std::span(clip.targets).subspan(static_cast<size_t>(first), static_cast<size_t>(kept)),
            draw};
}

MaskedBatch WavlmPretraining::batch(int64_t step, double& seconds) {
    std::vector<MaskedClip> clips;
    for (const size_t i : sampler_->batch(step)) {
        const ClipDraw draw{options_.run.seed, static_cast<uint32_t>(step), static_cast<int64_t>(i)};
        MaskedClip& clip = clips.emplace_back(masked_clip(clips_[i], draw, true));
        mix_utterance(clip.samples, options_.mix, draw, static_cast<int64_t>(clips_.size()),
                      [&](int64_t other) { return std::span(clips_[static_cast<size_t>(other)].samples); });
        alter_utterance(clip.samples, options_.alter_share, draw);
        seconds += static_cast<double>(clip.samples.size()) / kSampleRate;
    }
    return heard(std::move(clips));
}

MaskedBatch WavlmPretraining::heard(std::vector<MaskedClip> clips) const {
    if (config_.normalizes())
        for (MaskedClip& c : clips) normalize_waveform(c.samples);
    return make_masked_batch(clips, config_, options_.spans);
}

ordered_json WavlmPretraining::validate() const {
    const NoGrad no_grad;
    double loss = 0;
    int64_t correct = 0, rows = 0;
    for (size_t i = 0; i < valid_.size(); ++i) {
        const ClipDraw draw{options_.run.seed, 0, static_cast<int64_t>(i)};
        const MaskedBatch one = heard({masked_clip(valid_[i], draw, /*random_part=*/false)});
        const auto found = masked_prediction(encoder_, head_, one);
        loss += found.loss.item() * static_cast<double>(one.targets.numel());
        correct += found.correct;
        rows += one.targets.numel();
    }
    const auto n = static_cast<double>(rows);
    return {{"valid", "masked frames"}, {"loss", loss / n}, {"accuracy", static_cast<double>(correct) / n}};
}

PretrainReport WavlmPretraining::run(const std::function<void(int64_t, const ordered_json&)>& after_step) {
    PretrainCallbacks callbacks;
    callbacks.loss = [&](int64_t step, ordered_json& line) {
        double seconds = 0;
        const MaskedBatch b = batch(step, seconds);
        const auto found = masked_prediction(encoder_, head_, b, options_.visible_weight);
        line["loss"] = found.loss.item();
        line["accuracy"] = static_cast<double>(found.correct) / static_cast<double>(b.targets.numel());
        line["masked"] = static_cast<double>(b.targets.numel()) / static_cast<double>(b.plan.numel());
        line["audio_seconds"] = seconds;
        return found.loss;
    };
    if (!valid_.empty()) callbacks.validate = [&] { return std::vector{validate()}; };
    callbacks.step = after_step;
    const PretrainReport report = pretrain(folder_, parameters(), options_.run, callbacks);
    if (!report.stopped) write_model(folder_.model(), hugging_face_tensors(encoder_), config_json(config_));
    return report;
}

}  // namespace wavllm
