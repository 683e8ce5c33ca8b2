// Pre-training a WavLM: it learns, repeats to the bit, goes on after it was killed, and what it writes is read again.
// Witnesses: an uninterrupted run, the same run with other threads, the encoder in memory.

#include "train/pretrain/wavlm.h"

#include <doctest/doctest.h>

#include <cmath>

#include "data/kmeans.h"
#include "data/mfcc.h"
#include "kernels/common/check.h"
#include "models/checkpoint/checkpoint.h"
#include "tensor/philox.h"
#include "tensor/thread_pool.h"
#include "tests/support/temp_folder.h"
#include "train/training_state.h"

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
    auto clips = toy_clips(4);
    // of those that train: from four toys nobody learns what is hidden in others
    std::vector<PretrainClip> valid(clips.begin(), clips.begin() + 2);
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
    WavlmPretrainOptions options = toy_options(5);
    options.alter_share = 0.5;
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
    WavlmPretrainOptions options = toy_options(80);
    options.run.validate_every = 0;
    const auto learns = [&](const fs::path& path) {
        run_in(path, options);
        const auto lines = lines_of(path / "metrics.jsonl");
        REQUIRE(lines.size() == 81);
        const auto mean = [&](size_t from, const char* what) {
            double sum = 0;
            for (size_t i = from; i < from + 5; ++i) sum += lines[i].at(what).get<double>();
            return sum / 5;
        };
        CHECK(mean(75, "loss") < 0.85 * mean(0, "loss"));
        CHECK(mean(75, "accuracy") > mean(0, "accuracy") + 0.15);
        CHECK(lines[80].at("valid") == "masked frames");
        CHECK(lines[80].at("accuracy").get<double>() > 0.3);  // of eight clusters
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

// Witness: the whole recordings, in which each crop of a batch is looked for.
TEST_CASE("pretrain wavlm: a crop has the clusters of the frames that it was cut from") {
    const TempFolder folder;
    WavlmPretrainOptions options = toy_options(1);
    options.mix.share = 0;
    options.crop_seconds = 0.4;
    const PretrainFolder run = PretrainFolder::create(folder / "run", options.to_json());
    WavlmPretraining training(run, options, toy_clips(4), {});
    const WavlmConfig config = wavlm_size("micro");
    REQUIRE(!config.normalizes());
    Tensor centres = Tensor::empty({8, kMfccs});
    copy_into(*open_checkpoint(folder / "run" / "clusters.safetensors"), "centres", centres);
    std::vector<std::vector<float>> whole;
    std::vector<std::vector<double>> clusters;
    for (const PretrainClip& c : toy_clips(4)) {
        whole.push_back(c.samples);
        clusters.push_back(nearest_centres(mfcc_of_frames(c.samples, config), centres).values());
    }
    const int64_t frames = config.frames(6400), length = config.window() + (frames - 1) * config.hop();
    int found = 0, moved = 0;
    for (int64_t step = 0; step < 3; ++step) {
        double seconds = 0;
        const MaskedBatch b = training.batch(step, seconds);
        std::vector<double> targets(static_cast<size_t>(b.plan.numel()), -1);
        const auto put = [&](const Tensor& rows, const Tensor& values) {
            for (int64_t i = 0; i < rows.numel(); ++i)
                targets[static_cast<size_t>(rows.data<int32_t>()[i])] = values.data<int32_t>()[i];
        };
        put(b.masked, b.targets);
        put(b.visible, b.visible_targets);
        const int64_t clips = b.borders.numel() - 1;
        REQUIRE(b.samples.numel() == clips * length);
        REQUIRE(b.plan.numel() == clips * frames);
        for (int64_t c = 0; c < clips; ++c) {
            const float* crop = b.samples.data<float>() + c * length;
            for (size_t w = 0; w < whole.size(); ++w)
                for (size_t first = 0; first + static_cast<size_t>(frames) <= clusters[w].size(); ++first) {
                    if (!std::equal(crop, crop + length, whole[w].data() + first * 320)) continue;
                    ++found;
                    moved += first > 0;
                    CHECK(std::equal(targets.begin() + c * frames, targets.begin() + (c + 1) * frames,
                                     clusters[w].begin() + static_cast<long>(first)));
                }
        }
        CHECK(seconds == doctest::Approx(static_cast<double>(clips * length) / 16000));
    }
    CHECK(found == 12);  // each clip in each of three batches
    CHECK(moved > 6);
}

// Witness: the same batch unaltered.
TEST_CASE("pretrain wavlm: a clip heard as if recorded elsewhere keeps its clusters and its mask") {
    const TempFolder folder;
    WavlmPretrainOptions options = toy_options(1);
    double seconds = 0;
    const auto batch = [&](const char* name, double share) {
        options.alter_share = share;
        const PretrainFolder run = PretrainFolder::create(folder / name, options.to_json());
        return WavlmPretraining(run, options, toy_clips(4), {}).batch(2, seconds);
    };
    const MaskedBatch plain = batch("plain", 0), altered = batch("altered", 1);
    CHECK(altered.borders.values() == plain.borders.values());
    CHECK(altered.masked.values() == plain.masked.values());
    CHECK(altered.targets.values() == plain.targets.values());
    CHECK(altered.visible_targets.values() == plain.visible_targets.values());
    const std::vector<double> a = altered.samples.values(), p = plain.samples.values();
    REQUIRE(a.size() == p.size());
    int64_t same = 0;
    for (size_t i = 0; i < a.size(); ++i) same += a[i] == p[i];
    CHECK(static_cast<double>(same) < 0.01 * static_cast<double>(a.size()));
}

// Witness: both of that frame's samples alone. With LayerNorm in place of GroupNorm a frame depends on nothing else.
TEST_CASE("pretrain wavlm: a frame's cepstra and the encoder's frame are of the same samples") {
    const WavlmConfig config = wavlm_size("micro-large");
    const std::vector<float> samples = toy_clips(1)[0].samples;
    const auto n = static_cast<int64_t>(samples.size()), window = config.window();
    const WavlmEncoder encoder(config, 4);
    const Tensor cepstra = mfcc_of_frames(samples, config);
    const Tensor frames = encoder.features(Tensor::from(samples, {n}), kernels::make_borders({&n, 1}));
    REQUIRE(cepstra.dim(0) == config.frames(n));
    REQUIRE(frames.dim(0) == config.frames(n));
    for (const int64_t t : {0, 1, 17, 48}) {
        CAPTURE(t);
        const auto one = std::span(samples).subspan(static_cast<size_t>(320 * t), static_cast<size_t>(window));
        const auto expected = mfcc_of_frames(one, config).values(), found = cepstra.slice(0, t, t + 1).values();
        for (size_t i = 0; i < 13; ++i)
            CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-6));  // no differences
        const Tensor alone = encoder.features(Tensor::from(one, {window}), kernels::make_borders({&window, 1}));
        const auto x = frames.slice(0, t, t + 1).values(), y = alone.values();
        REQUIRE(x.size() == y.size());
        for (size_t i = 0; i < x.size(); ++i) REQUIRE(std::abs(x[i] - y[i]) <= 1e-5);
    }
}

TEST_CASE("pretrain wavlm: a batch of one short clip trains, since a frame is heard always") {
    const TempFolder folder;
    WavlmPretrainOptions options = toy_options(2);
    options.clusters = 3;
    options.spans = {.start = 0, .length = 10};
    options.mix.share = 0;
    const PretrainFolder run = PretrainFolder::create(folder / "run", options.to_json());
    auto clips = toy_clips(1);
    clips[0].samples.resize(400 + 7 * 320);  // eight frames
    CHECK(WavlmPretraining(run, options, clips, {}).run().steps_done == 2);
    clips[0].samples.resize(400);
    const PretrainFolder other = PretrainFolder::create(folder / "other", options.to_json());
    CHECK_THROWS_WITH_AS(WavlmPretraining(other, options, clips, {}),
                         "pretrain wavlm: toy0 has 400 samples, but two frames take 720; leave it out", UsageError);
}

TEST_CASE("pretrain: a run that made no step is replaced, one of another model or with edited numbers is refused") {
    const TempFolder folder;
    const fs::path path = folder / "run";
    WavlmPretrainOptions options = toy_options(2);
    options.clusters = 5;
    const PretrainFolder run = PretrainFolder::create(path, options.to_json());
    WavlmPretraining(run, options, toy_clips(2), {});  // writes the clusters
    REQUIRE(fs::exists(path / "clusters.safetensors"));
    run_in(folder / "other", toy_options(2));
    options.clusters = 8;
    const PretrainFolder again = PretrainFolder::create(path, options.to_json());
    WavlmPretraining(again, options, toy_clips(2), {}).run();
    CHECK_THROWS_WITH_AS(PretrainFolder::create(path, options.to_json()), doctest::Contains("a run is there already"),
                         UsageError);
    const auto refuses = [&](const char* name, const nlohmann::json& value, const char* expected) {
        CAPTURE(name);
        nlohmann::json values = options.to_json();
        values[name] = value;
        CHECK_THROWS_WITH(WavlmPretrainOptions::from_json(values, "pretrain.json"), doctest::Contains(expected));
    };
    refuses("model", "llama", "pretrain.json: this run is of `wavllm pretrain llama`");
    refuses("model", 3, "pretrain.json: no \"model\"");
    refuses("save_every", 0, "pretrain.json: save_every = 0 is out of range");
    refuses("keep", 0, "keep = 0 is out of range");
    refuses("mask_start", 1, "mask_start = 1 would hide every frame");
    refuses("crop_seconds", 1e18, "crop_seconds = 1e+18 is out of range");
    refuses("crop_seconds", 0.03, "crop_seconds = 0.03 is shorter than two frames, 0.045 s");
    refuses("layer", 2, "layer 2 of which encoder?");
    refuses("size", "smal", "not \"smal\"");
}

TEST_CASE("pretrain wavlm: clusters of other recordings, or of another encoder or layer, are refused") {
    const TempFolder folder;
    run_in(folder / "first", toy_options(1));
    run_in(folder / "second", toy_options(2));
    WavlmPretrainOptions options = toy_options(1);
    options.targets = (folder / "first").string();
    const PretrainFolder run = PretrainFolder::create(folder / "run", options.to_json());
    const auto start = [&](std::vector<PretrainClip> clips) { WavlmPretraining(run, options, std::move(clips), {}); };
    start(toy_clips(2));
    start(toy_clips(2));  // the same again
    auto changed = toy_clips(2);
    changed[1].samples[77] += 0.01f;
    CHECK_THROWS_WITH_AS(start(changed), doctest::Contains("are of recordings with the hash"), FileError);
    CHECK_THROWS_WITH_AS(start(toy_clips(3)), doctest::Contains("are of so many frames: "), FileError);
    options.layer = 3;
    CHECK_THROWS_WITH_AS(start(toy_clips(2)), doctest::Contains("are of layer 2, but now there are 3"), FileError);
    options.layer = 0;
    options.targets = (folder / "second").string();
    CHECK_THROWS_WITH_AS(start(toy_clips(2)), doctest::Contains("are of an encoder with the hash"), FileError);
}

TEST_CASE("pretrain: metrics that cannot be read stay, and a checkpoint that cannot be removed is named") {
    const TempFolder folder;
    fs::create_directory(folder / "metrics.jsonl");
    CHECK_THROWS_WITH_AS(cut_metrics(folder / "metrics.jsonl", 3), doctest::Contains("cannot be read"), FileError);
    CHECK(fs::is_directory(folder / "metrics.jsonl"));
    const WavlmPretrainOptions options = toy_options(8);
    const PretrainFolder run = PretrainFolder::create(folder / "run", options.to_json());
    WavlmPretraining training(run, options, toy_clips(2), {});
    const auto old = run.checkpoints() / "step-000000.safetensors";
    CHECK_THROWS_WITH_AS(
        training.run([&](int64_t, const nlohmann::ordered_json&) { fs::create_directories(old / "full"); }),
        doctest::Contains("step-000000.safetensors: an older checkpoint cannot be removed"), FileError);
}
