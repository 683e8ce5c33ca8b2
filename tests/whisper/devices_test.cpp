// Whisper on devices with CUDA bodies: log-mel, encoder, prompt, cached steps. Witness: the CPU.

#include <doctest/doctest.h>

#include "infer/generate.h"
#include "kernels/log_mel/log_mel.h"
#include "models/wavllm/system.h"
#include "tests/wavllm/tiny_system.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

std::vector<float> chirp(size_t samples) {
    std::vector<float> x(samples);
    for (size_t i = 0; i < samples; ++i) {
        const double t = static_cast<double>(i) / kSampleRate;
        x[i] = static_cast<float>(0.3 * std::sin(2000 * t * (1 + t)));
    }
    return x;
}

void expect_close(const Tensor& actual, const Tensor& expected, double tolerance) {
    const std::vector<double> a = actual.values(), e = expected.values();
    REQUIRE(a.size() == e.size());
    double scale = 1e-3, worst = 0;
    for (const double v : e) scale = std::max(scale, std::abs(v));
    for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - e[i]));
    CHECK(worst <= tolerance * scale);
}

/// Two chunks listened to at once, a prompt of three tokens each, then greedy steps; the second chunk leaves early.
std::vector<std::vector<int32_t>> decode(const Whisper& model, const Tensor& encoded) {
    WhisperCache cache(model.config(), 3, 12, encoded.dim(0), encoded.device());
    model.decoder.listen(cache, 0, encoded);
    model.decoder.listen(cache, 2, encoded.slice(0, 0, encoded.dim(0) / 2));
    std::vector<int64_t> slots{0, 2};
    const Tensor ids = Tensor::from(std::vector<int32_t>{1, 2, 3, 4, 5, 6}, {6});
    Tensor h = model.decoder.prefill(cache, slots, ids, Tensor::from(std::vector<int64_t>{0, 3, 6}, {3}));
    const int64_t last[] = {2, 5};
    Tensor rows = Tensor::empty({2, h.dim(1)}, DType::f32, h.device());
    for (int64_t i = 0; i < 2; ++i) rows.select(0, i).assign(h.select(0, last[i]));
    std::vector<std::vector<int32_t>> tokens(3);
    for (int step = 0; step < 6; ++step) {
        const Tensor logits = model.decoder.logits(rows).to(Device::cpu);
        std::vector<int32_t> next;
        for (size_t i = 0; i < slots.size(); ++i) {
            next.push_back(argmax(logits.data<float>() + static_cast<int64_t>(i) * logits.dim(1), logits.dim(1)));
            tokens[static_cast<size_t>(slots[i])].push_back(next.back());
        }
        if (step == 3) {
            slots.pop_back();
            next.pop_back();
        }
        rows = model.decoder.step(cache, slots, Tensor::from(next, {static_cast<int64_t>(next.size())}));
    }
    return tokens;
}

}  // namespace

TEST_CASE("sim: Whisper hears and writes what it does on the cpu") {
    const auto load = [](DType panels) {
        return Whisper::load(*open_checkpoint(shared("golden/hf_whisper_weights.safetensors")),
                             golden_hf_whisper_config(), panels);
    };
    const std::vector<float> samples = chirp(17000);
    const std::span<const float> clip(samples);
    const auto encode = [&](const Whisper& model) {
        const Tensor filters = kernels::make_mel_filters(80).to(model.encoder.device());
        const WhisperFeatures f = whisper_features(std::span(&clip, 1), filters, WhisperPadding::tight);
        return std::pair{f.mel, model.encoder.forward(f.mel, f.borders)};
    };
    const Whisper here = load(DType::f32);
    const auto [mel, encoded] = encode(here);
    const DeviceScope scope(Device::sim);
    const Whisper there = load(DType::f32);
    CHECK(there.encoder.device() == Device::sim);
    const auto [sim_mel, sim_encoded] = encode(there);
    expect_close(sim_mel, mel, 1e-5);
    expect_close(sim_encoded, encoded, 1e-4);
    CHECK(decode(there, sim_encoded) == decode(here, encoded));
}

TEST_CASE("sim: a clip's features in bf16 are those of the cpu to a unit in the last place or two") {
    const std::vector<float> samples = chirp(21001);
    const std::span<const float> clip(samples);
    const auto features = [&](Device device) {
        const DeviceScope scope(device);
        System s = tiny_system();
        s.mel_filters = s.mel_filters.to(device);
        return encode_clips(s, std::span(&clip, 1)).front().features;
    };
    const Tensor cpu = features(Device::cpu), sim = features(Device::sim);
    CHECK(sim.device() == Device::cpu);
    expect_close(sim, cpu, 0.01);
}
