// Pre-training a Whisper: the trained model is the one that models/whisper computes, a clip's loss does not depend on its
// batch, it learns, and goes on after it was killed.
// Witnesses: Whisper (which agrees with transformers, see tests/whisper/) on the written folder; finite differences; an
// uninterrupted run.

#include "train/pretrain/whisper.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/cross_entropy.h"
#include "autograd/ops/linear.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "kernels/log_mel/log_mel.h"
#include "models/whisper/features.h"
#include "tensor/thread_pool.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

namespace fs = std::filesystem;

/// A letter is a tone of 0.1 s; the text spells the tones.
std::vector<TranscribedClip> toy_clips() {
    const Tensor filters = kernels::make_mel_filters(80);
    std::vector<TranscribedClip> clips;
    for (const char* text : {"ab", "ba", "cab", "bca", "ac", "cc"}) {
        std::vector<float> samples;
        for (const char* c = text; *c != 0; ++c)
            for (int n = 0; n < 1600; ++n)
                samples.push_back(static_cast<float>(0.3 * std::sin(0.1 * (1 + 2 * (*c - 'a')) * n)));
        const std::span<const float> one = samples;
        clips.push_back({text, text, whisper_features({&one, 1}, filters, WhisperPadding::tight).mel});
    }
    return clips;
}

WhisperPretrainOptions toy_options(int64_t steps) {
    WhisperPretrainOptions o;
    o.train = {"made by the test"};
    o.batch_seconds = 4;
    o.run.steps = steps;
    o.run.warmup_steps = 4;
    o.run.rate = 2e-3;
    o.run.save_every = 4;
    o.run.validate_every = 0;
    return o;
}

struct Killed {};

void run_in(const fs::path& path, const WhisperPretrainOptions& options, int64_t kill_after = -1) {
    const PretrainFolder folder = fs::exists(path / "pretrain.json") ? PretrainFolder::open(path)
                                                                     : PretrainFolder::create(path, options.to_json());
    WhisperPretraining training(folder, WhisperPretrainOptions::from_json(folder.options(), "pretrain.json"),
                                toy_clips(), toy_clips());
    training.run([&](int64_t done, const nlohmann::ordered_json&) {
        if (done == kill_after) throw Killed();
    });
}

std::string files_of(const fs::path& path) {
    return read_all(path / "metrics.jsonl") + read_all(path / "model" / "model.safetensors") +
           read_all(path / "model" / "config.json");
}

WhisperConfig tiny() {
    return {.dim = 16,
            .encoder_layers = 2,
            .decoder_layers = 2,
            .heads = 2,
            .encoder_ffn = 24,
            .decoder_ffn = 24,
            .max_source_positions = 100,
            .max_target_positions = 8,
            .vocab = 260};
}

Tensor loss_of(const TrainableWhisper& m, const WhisperPretraining::Batch& b, double normalizer) {
    const Tensor h = m.decode(b.ids, b.borders, m.encode(b.mel, b.mel_borders), m.frame_borders(b.mel_borders));
    return cross_entropy(h, m.embedding(), b.targets, normalizer).loss;
}

}  // namespace

TEST_CASE("pretrain whisper: positions are Whisper's sinusoids") {
    const auto v = whisper_sinusoids(30, 6).values();  // openai/whisper's sinusoids(30, 6) in float64
    const double expected[] = {-0.663633884212968, 0.285952225104836, 0.00289999593500170,
                               -0.748057529689,    0.958243875512697, 0.999995795002947};
    for (size_t k = 0; k < 6; ++k) CHECK(v[29 * 6 + k] == doctest::Approx(expected[k]).epsilon(1e-5));
    CHECK_THROWS_AS(whisper_sinusoids(3, 5), UsageError);
}

TEST_CASE("pretrain whisper: gradients are the loss's slopes and reach every parameter; clips alone as in a batch") {
    const TrainableWhisper model(tiny(), 3);
    const auto clips = toy_clips();
    const TranscribedClip *a = &clips[0], *b = &clips[3], *both[] = {a, b};
    const auto batch = WhisperPretraining::make_batch(both);
    const Tensor together = loss_of(model, batch, 1);
    backward(together);
    const NoGrad no_grad;
    CHECK(together.item() == doctest::Approx(loss_of(model, WhisperPretraining::make_batch({&a, 1}), 1).item() +
                                             loss_of(model, WhisperPretraining::make_batch({&b, 1}), 1).item())
                                 .epsilon(1e-6));
    for (const Parameter& p : model.parameters()) {
        CAPTURE(p.name);
        REQUIRE(grad(p.tensor).defined());
        const std::vector<double> g = grad(p.tensor).values();
        size_t most = 0;
        for (size_t i = 0; i < g.size(); ++i)
            if (std::abs(g[i]) > std::abs(g[most])) most = i;
        CHECK(g[most] != 0);
        Tensor shared = p.tensor;
        float* value = shared.mutable_data<float>() + most;
        const float at = *value;
        const auto moved = [&](float by) {
            *value = at + by;
            const double loss = loss_of(model, batch, 1).item();
            *value = at;
            return loss;
        };
        constexpr float h = 4e-3f;  // the losses are sums of f32, about 39
        CHECK((moved(h) - moved(-h)) / (2 * h) == doctest::Approx(g[most]).epsilon(0.02).scale(0.05));
    }
}

TEST_CASE("pretrain whisper: what is written is what was trained") {
    const TempFolder folder;
    const PretrainFolder run = PretrainFolder::create(folder / "run", toy_options(2).to_json());
    WhisperPretraining training(run, toy_options(2), toy_clips(), {});
    training.run();
    const Whisper whisper = Whisper::load(*open_checkpoint(run.model()));
    CHECK(whisper.config().vocab == 260);
    const auto clips = toy_clips();
    const TranscribedClip* both[] = {&clips[1], &clips[2]};
    const auto b = WhisperPretraining::make_batch(both);
    const NoGrad no_grad;
    const TrainableWhisper& model = training.model();
    const Tensor encoded = model.encode(b.mel, b.mel_borders), frozen = whisper.encoder.forward(b.mel, b.mel_borders);
    const Tensor frames = model.frame_borders(b.mel_borders);
    WhisperCache cache(whisper.config(), 2, 8, 100);
    for (int64_t c = 0; c < 2; ++c)
        whisper.decoder.listen(cache, c, frozen.slice(0, frames.data<int64_t>()[c], frames.data<int64_t>()[c + 1]));
    const int64_t slots[] = {0, 1};
    const auto close = [](const Tensor& x, const Tensor& y) {
        const auto u = x.values(), v = y.values();
        REQUIRE(u.size() == v.size());
        for (size_t i = 0; i < u.size(); ++i) REQUIRE(std::abs(u[i] - v[i]) <= 2e-5);
    };
    close(encoded, frozen);
    close(linear(model.decode(b.ids, b.borders, encoded, frames), model.embedding()),
          whisper.decoder.logits(whisper.decoder.prefill(cache, slots, b.ids, b.borders)));
}

TEST_CASE("pretrain whisper: killed and resumed, or with other threads, it ends in the same files") {
    const TempFolder folder;
    const WhisperPretrainOptions options = toy_options(8);
    const int before = num_threads();
    set_num_threads(1);
    run_in(folder / "whole", options);
    set_num_threads(3);
    CHECK_THROWS_AS(run_in(folder / "killed", options, 6), Killed);
    run_in(folder / "killed", options);
    set_num_threads(before);
    CHECK(files_of(folder / "killed") == files_of(folder / "whole"));
    std::vector<TranscribedClip> long_text = toy_clips();
    long_text[2].text.assign(448, 'a');
    CHECK_THROWS_AS(WhisperPretraining(PretrainFolder::open(folder / "whole"), options, long_text, {}), UsageError);
}

TEST_CASE("pretrain whisper: learns to spell what it hears") {
    const TempFolder folder;
    run_in(folder / "run", toy_options(90));
    std::vector<nlohmann::json> lines;
    std::ifstream in(folder / "run" / "metrics.jsonl");
    for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
    REQUIRE(lines.size() == 91);
    CHECK(lines[0].at("loss").get<double>() == doctest::Approx(std::log(260)).epsilon(0.1));  // knows nothing yet
    CHECK(lines[89].at("loss").get<double>() < 0.3);
    CHECK(lines[90].at("accuracy").get<double>() > 0.9);
    const Whisper whisper = Whisper::load(*open_checkpoint(folder / "run" / "model"));
    int right = 0;
    for (const TranscribedClip& c : toy_clips()) right += transcribe_bytes(whisper, c.mel, 6) == c.text;
    CHECK(right >= 5);
}
