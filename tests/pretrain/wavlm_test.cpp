// Pre-training a WavLM: it learns, repeats to the bit, goes on after it was killed, and what it writes is read again.
// Witnesses: an uninterrupted run, the same run with other threads, the encoder in memory.

#include "train/pretrain/wavlm.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/common/check.h"
#include "tensor/philox.h"
#include "tensor/thread_pool.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

namespace fs = std::filesystem;

/// Clips that change between four vowels of a sort every 0.2 s, in a voice of their own.
std::vector<PretrainClip> toy_clips(int64_t count) {
    std::vector<PretrainClip> clips;
    for (int64_t c = 0; c < count; ++c) {
        PretrainClip& clip =
            clips.emplace_back(PretrainClip{fmt::format("toy{}", c), fmt::format("voice{}", c % 3), {}, {}});
        const Philox rng(5, "toy", static_cast<uint32_t>(c));
        const double pitch = 110 * (1 + 0.1 * static_cast<double>(c % 3));
        clip.samples.resize(static_cast<size_t>(16000 + 800 * c));
        for (size_t n = 0; n < clip.samples.size(); ++n) {
            const uint32_t vowel = rng.bits(n / 3200) % 4;
            const double formant = 400 * (1 + vowel), t = static_cast<double>(n) / 16000;
            double x = 0;
            for (int h = 1; h < 24; ++h)
                x += std::exp(-std::abs(pitch * h - formant) / 250) * std::sin(2 * std::numbers::pi * pitch * h * t);
            clip.samples[n] = static_cast<float>(0.1 * x + 0.003 * static_cast<double>(rng.normal(n + 1000)));
        }
    }
    return clips;
}

WavlmPretrainOptions toy_options(int64_t steps) {
    WavlmPretrainOptions o;
    o.train = {"made by the test"};
    o.clusters = 8;
    o.code_dim = 16;
    o.batch_seconds = 2;
    o.crop_seconds = 0.9;
    o.run.steps = steps;
    o.run.warmup_steps = 4;
    o.run.rate = 2e-3;
    o.run.save_every = 2;
    o.run.validate_every = 3;
    return o;
}

struct Killed {};

/// Runs to the end, or throws Killed after `kill_after` steps.
void run_in(const fs::path& path, const WavlmPretrainOptions& options, int64_t kill_after = -1) {
    const PretrainFolder folder = fs::exists(path / "pretrain.json") ? PretrainFolder::open(path)
                                                                     : PretrainFolder::create(path, options.to_json());
    auto clips = toy_clips(6);
    std::vector<PretrainClip> valid(clips.end() - 2, clips.end());
    clips.resize(4);
    WavlmPretraining training(folder, WavlmPretrainOptions::from_json(folder.options(), "pretrain.json"),
                              std::move(clips), std::move(valid));
    const PretrainReport report = training.run([&](int64_t done, const nlohmann::ordered_json&) {
        if (done == kill_after) throw Killed();
    });
    CHECK(report.steps_done == options.run.steps);
    CHECK(!report.stopped);
}

std::string files_of(const fs::path& path) {
    std::string all;
    for (const char* file :
         {"metrics.jsonl", "clusters.safetensors", "model/model.safetensors", "model/config.json", "pretrain.json"})
        all += read_all(path / file);
    return all;
}

std::vector<nlohmann::json> lines_of(const fs::path& file) {
    std::vector<nlohmann::json> lines;
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
}

}  // namespace

TEST_CASE("pretrain wavlm: killed at any step and resumed, or with other threads, it ends in the same files") {
    const TempFolder folder;
    const WavlmPretrainOptions options = toy_options(5);
    const int before = num_threads();
    set_num_threads(1);
    run_in(folder / "whole", options);
    set_num_threads(3);
    const std::string whole = files_of(folder / "whole");
    run_in(folder / "threads", options);
    CHECK(files_of(folder / "threads") == whole);
    set_num_threads(before);
    for (const int64_t step : {1, 3}) {  // before and between checkpoints
        CAPTURE(step);
        const fs::path path = folder / fmt::format("killed{}", step);
        CHECK_THROWS_AS(run_in(path, options, step), Killed);
        CHECK(!fs::exists(path / "model"));
        run_in(path, options);
        CHECK(files_of(path) == whole);
    }
    CHECK_THROWS_WITH_AS(PretrainFolder::create(folder / "whole", {}),
                         doctest::Contains("a run is there already; continue it with --resume"), UsageError);
}

TEST_CASE("pretrain wavlm: loss falls and accuracy rises on toys, also by the features of the first model") {
    const TempFolder folder;
    WavlmPretrainOptions options = toy_options(40);
    options.run.validate_every = 0;
    const auto learns = [&](const fs::path& path) {
        run_in(path, options);
        const auto lines = lines_of(path / "metrics.jsonl");
        REQUIRE(lines.size() == 41);
        const auto mean = [&](size_t from, const char* what) {
            double sum = 0;
            for (size_t i = from; i < from + 5; ++i) sum += lines[i].at(what).get<double>();
            return sum / 5;
        };
        CHECK(mean(35, "loss") < 0.85 * mean(0, "loss"));
        CHECK(mean(35, "accuracy") > mean(0, "accuracy") + 0.15);
        CHECK(lines[40].at("valid") == "masked frames");
        CHECK(lines[40].at("accuracy").get<double>() > 0.3);  // of eight clusters
    };
    learns(folder / "first");
    options.targets = (folder / "first").string();
    learns(folder / "second");
    CHECK(read_all(folder / "first" / "clusters.safetensors") != read_all(folder / "second" / "clusters.safetensors"));
    options.layer = 5;
    CHECK_THROWS_WITH_AS(run_in(folder / "third", options), doctest::Contains("has layers 1 to 4"), UsageError);
}

TEST_CASE("pretrain wavlm: the model folder holds the encoder") {
    const TempFolder folder;
    const PretrainFolder run = PretrainFolder::create(folder / "run", toy_options(2).to_json());
    WavlmPretraining training(run, toy_options(2), toy_clips(3), {});
    training.run();
    const WavlmEncoder stored = load_wavlm(folder / "run"), same = training.encoder().frozen();
    CHECK(load_wavlm(folder / "run" / "model").fingerprint() == stored.fingerprint());
    const std::vector<float> samples = toy_clips(1)[0].samples;
    const auto n = static_cast<int64_t>(samples.size());
    const Tensor x = Tensor::from(samples, {n}), borders = kernels::make_borders({&n, 1});
    const std::vector<double> a = stored.forward(x, borders).values(), b = same.forward(x, borders).values();
    REQUIRE(a.size() == b.size());
    for (size_t i = 0; i < a.size(); ++i) REQUIRE(std::abs(a[i] - b[i]) <= 1e-5);  // weight norm, folded again
}
