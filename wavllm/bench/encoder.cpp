// wavllm bench encoder: Whisper's encoder on 30 s. bench/peers/torch_whisper_encoder.py is the same in PyTorch.

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
    std::string model = "whisper-base", panels = "auto", json;
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

int bench_encoder(const Options& o) {
    if (o.runs < 5) throw UsageError("--runs {}: a median needs at least 5 runs", o.runs);
    if (!(o.seconds >= 0.02 && o.seconds <= 30)) throw UsageError("--seconds {}: must be from 0.02 to 30", o.seconds);
    const double load = load_average();
    const auto checkpoint = open_checkpoint(find_model(o.model).model());
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
        fmt::print("encoder of {}, {} s of audio, {} weights; load average {:.1f}\n\n", o.model, o.seconds, o.panels,
                   load);
        fmt::print("{} (median of {}; {} to {}), {:.1f} GFLOP, {:.0f} GFLOP/s\n\n{}", format_seconds(t.median), t.runs,
                   format_seconds(t.fastest), format_seconds(t.slowest), work / 1e9, work / t.median / 1e9,
                   memory::report());
    }
    if (!o.json.empty())
        write_json({{"model", o.model},
                    {"audio_seconds", o.seconds},
                    {"seconds", t.to_json()},
                    {"flops", work},
                    {"peak_bytes", memory::total(encoder.device()).peak},
                    {"load_average", load}},
                   o.json);
    return 0;
}

WAVLLM_PART(bench, encoder,
            {"encoder", "Whisper's encoder on 30 s of audio", "wavllm bench encoder --model whisper-base",
             [](CLI::App& app) {
                 auto o = std::make_shared<Options>();
                 app.add_option("--model", o->model, "as in transcribe (whisper-base)");
                 app.add_option("--seconds", o->seconds, "of audio, at most 30 (30)");
                 app.add_option("--runs", o->runs, "timed runs, at least 5 (5)");
                 add_frozen(app, o->panels);
                 app.add_option("--json", o->json, "write the figures to this file (- is stdout)");
                 return [o] { return bench_encoder(*o); };
             }});

}  // namespace

}  // namespace wavllm
