// wavllm bench encoder: Whisper's encoder on 30 s, or WavLM's. bench/peers/torch_whisper_encoder.py is the former in PyTorch.

#include "models/wavlm/encoder.h"

#include "autograd/tape.h"
#include "data/progress.h"
#include "kernels/common/check.h"
#include "kernels/common/op_case.h"
#include "models/whisper/whisper.h"
#include "tensor/allocator.h"
#include "wavllm/bench/machine.h"
#include "wavllm/bench/timing.h"
#include "wavllm/command.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/model_files.h"

namespace wavllm {

namespace {

struct Options {
    std::string encoder = "whisper", model, panels = "auto", json;
    double seconds = 30;
    int runs = 5;
};

/// What the products and the two attention products of one chunk must do.
double flops(const WhisperConfig& c, int64_t mel_frames) {
    const auto d = static_cast<double>(c.dim), mels = static_cast<double>(c.mels), in = static_cast<double>(mel_frames);
    const double frames = static_cast<double>((mel_frames - 1) / 2 + 1);
    const double convolutions = 2 * 3 * (in * mels * d + frames * d * d);
    const double layer =
        2 * frames * (4 * d * d + 2 * d * static_cast<double>(c.encoder_ffn)) + 4 * frames * frames * d;
    return convolutions + static_cast<double>(c.encoder_layers) * layer;
}

int bench_whisper(const std::string& model, const Options& o) {
    const double load = load_average();
    const auto checkpoint = open_checkpoint(find_model(model).model());
    const WhisperEncoder encoder =
        Whisper::load_encoder(*checkpoint, whisper_config(*checkpoint), frozen_dtype(o.panels));
    const int64_t lengths[] = {static_cast<int64_t>(o.seconds * 100)};  // mel frames of 10 ms
    Tensor mel, borders;
    {
        PurposeScope scope(Purpose::data);
        mel = random({lengths[0], encoder.config().mels}, 0.5);
        borders = kernels::make_borders(lengths);
    }
    const NoGrad no_grad;
    mel = mel.to(encoder.device());
    const auto run = [&] {
        encoder.forward(mel, borders);
        synchronize(mel.device());
    };
    run();
    memory::reset_peaks();
    const Timing t = measure_all_of(run, o.runs);
    const double work = flops(encoder.config(), lengths[0]);
    if (o.json != "-") {
        fmt::print("encoder of {}, {} s of audio, {} weights; load average {:.1f}\n\n", model, o.seconds, o.panels,
                   load);
        fmt::print("{} (median of {}; {} to {}), {:.1f} GFLOP, {:.0f} GFLOP/s\n\n{}", format_seconds(t.median), t.runs,
                   format_seconds(t.fastest), format_seconds(t.slowest), work / 1e9, work / t.median / 1e9,
                   memory::report());
    }
    if (!o.json.empty())
        write_json({{"model", model},
                    {"audio_seconds", o.seconds},
                    {"seconds", t.to_json()},
                    {"flops", work},
                    {"peak_bytes", memory::total(encoder.device()).peak},
                    {"load_average", load}},
                   o.json);
    return 0;
}

/// The same for one clip of WavLM's.
double flops(const WavlmConfig& c, int64_t samples) {
    const auto number = [](int64_t v) { return static_cast<double>(v); };
    double convolutions = 0;
    for (size_t i = 0, channels = 1; i < c.conv_dim.size(); channels = static_cast<size_t>(c.conv_dim[i++])) {
        samples = (samples - c.conv_kernel[i]) / c.conv_stride[i] + 1;
        convolutions += 2.0 * number(samples) * number(c.conv_dim[i]) * number(c.conv_kernel[i]) *
                        number(static_cast<int64_t>(channels));
    }
    const double frames = number(samples), d = number(c.dim);
    const double positions = 2 * frames * d * d / number(c.position_groups) * number(c.position_kernel);
    const double layer = 2 * frames * (4 * d * d + 2 * d * number(c.ffn) + 8 * d) + 4 * frames * frames * d;
    return convolutions + 2 * frames * number(c.conv_dim.back()) * d + positions + number(c.layers) * layer;
}

int bench_wavlm(const Options& o) {
    const double load = load_average();
    const DType panels = frozen_dtype(o.panels);
    const bool random_weights = o.model.empty() || o.model == "base" || o.model == "large";
    const WavlmEncoder encoder = [&] {
        if (random_weights)
            return WavlmEncoder(o.model == "large" ? WavlmConfig::large() : WavlmConfig(), 1).frozen(panels);
        const auto checkpoint = open_checkpoint(find_model(o.model).model());
        return WavlmEncoder::load(Weights(*checkpoint), wavlm_config(*checkpoint), panels);
    }();
    const auto samples = static_cast<int64_t>(o.seconds * 16000);
    const WavlmConfig& c = encoder.config();
    if (c.frames(samples) < 1)
        throw UsageError("--seconds {}: too short for a frame of {} samples", o.seconds, c.window());
    Tensor waveform, borders;
    {
        PurposeScope scope(Purpose::data);
        waveform = random({samples}, 0.1);
        borders = kernels::make_borders({&samples, 1});
    }
    const NoGrad no_grad;
    const auto measured = [&](const auto& run) {
        const auto whole = [&] {
            run();
            synchronize(encoder.device());
        };
        whole();
        memory::reset_peaks();
        return measure_all_of(whole, o.runs);
    };
    // The first convolution by itself is a front end of one.
    WavlmConfig one = c;
    one.layers = 1;
    for (auto* list : {&one.conv_dim, &one.conv_kernel, &one.conv_stride}) list->resize(1);
    const WavlmEncoder first = WavlmEncoder(one, 1).frozen(panels);
    const Timing conv0 = measured([&] { first.features(waveform, borders); }),
                 front = measured([&] { encoder.features(waveform, borders); }),
                 all = measured([&] { encoder.forward(waveform, borders); });
    const double work = flops(c, samples);
    if (o.json != "-") {
        fmt::print("WavLM of {} layers, {} s of audio, {} weights{}; load average {:.1f}\n\n", c.layers, o.seconds,
                   o.panels, random_weights ? " (random)" : "", load);
        fmt::print("{} (median of {}; {} to {}), {:.1f} GFLOP, {:.0f} GFLOP/s\n", format_seconds(all.median), all.runs,
                   format_seconds(all.fastest), format_seconds(all.slowest), work / 1e9, work / all.median / 1e9);
        fmt::print("  of it the convolutional front end {}, of that the first convolution {}\n\n{}",
                   format_seconds(front.median), format_seconds(conv0.median), memory::report());
    }
    if (!o.json.empty())
        write_json({{"encoder", "wavlm"},
                    {"model", random_weights && o.model.empty() ? "base" : o.model},
                    {"audio_seconds", o.seconds},
                    {"seconds", all.to_json()},
                    {"front_end_seconds", front.to_json()},
                    {"first_convolution_seconds", conv0.to_json()},
                    {"flops", work},
                    {"peak_bytes", memory::total(encoder.device()).peak},
                    {"load_average", load}},
                   o.json);
    return 0;
}

int bench_encoder(const Options& o) {
    if (o.runs < 5) throw UsageError("--runs {}: a median needs at least 5 runs", o.runs);
    if (!(o.seconds >= 0.02 && o.seconds <= 30)) throw UsageError("--seconds {}: must be from 0.02 to 30", o.seconds);
    if (o.encoder == "wavlm") return bench_wavlm(o);
    return bench_whisper(o.model.empty() ? "whisper-base" : o.model, o);
}
WAVLLM_PART(bench, encoder,
            {"encoder", "Whisper's or WavLM's encoder on 30 s of audio", "wavllm bench encoder --model whisper-base",
             [](cli::App& app) {
                 auto o = std::make_shared<Options>();
                 app.add_option("--encoder", o->encoder, "whisper or wavlm (whisper)")->one_of({"whisper", "wavlm"});
                 app.add_option(
                     "--model", o->model,
                     "whisper: as in transcribe (whisper-base); wavlm: a Hugging Face folder, or base or large "
                     "with random weights (base)");
                 app.add_option("--seconds", o->seconds, "of audio, at most 30 (30)");
                 app.add_option("--runs", o->runs, "timed runs, at least 5 (5)");
                 add_frozen(app, o->panels);
                 app.add_option("--json", o->json, "write the figures to this file (- is stdout)");
                 return [o] { return bench_encoder(*o); };
             }});

}  // namespace

}  // namespace wavllm
