// Masks, mixtures and the loss of masked prediction.
// Witnesses: counts and energies worked out here, the loss in float64 written plainly, its central differences.

#include "train/pretrain/masked_prediction.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "autograd/tape.h"
#include "data/synth/effects.h"
#include "kernels/common/op_case.h"
#include "tests/wavlm/oracle.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

/// -log softmax(cos(W x + b, e) / 0.1)[target], mean over rows.
double plain_loss(const std::vector<double>& x, const std::vector<std::vector<double>>& p,
                  const std::vector<int32_t>& targets, size_t dim, size_t code, size_t clusters) {
    double total = 0;
    for (size_t i = 0; i < targets.size(); ++i) {
        std::vector<double> z(code), logits(clusters);
        double length = 0;
        for (size_t c = 0; c < code; ++c) {
            z[c] = p[1][c];
            for (size_t d = 0; d < dim; ++d) z[c] += p[0][c * dim + d] * x[i * dim + d];
            length += z[c] * z[c];
        }
        double sum = 0;
        for (size_t k = 0; k < clusters; ++k) {
            double dot = 0, of_code = 0;
            for (size_t c = 0; c < code; ++c) {
                dot += z[c] * p[2][k * code + c];
                of_code += p[2][k * code + c] * p[2][k * code + c];
            }
            sum += std::exp(logits[k] = dot / std::sqrt(length * of_code) / 0.1);
        }
        total += std::log(sum) - logits[static_cast<size_t>(targets[i])];
    }
    return total / static_cast<double>(targets.size());
}

}  // namespace

TEST_CASE("masks: spans of ten, about as many frames as the formula says, of one clip and step alone") {
    const SpanConfig config;
    int64_t covered = 0;
    for (int64_t clip = 0; clip < 200; ++clip) {
        const auto frames = masked_frames(400, config, {1, 5, clip});
        covered += static_cast<int64_t>(frames.size());
        REQUIRE(std::is_sorted(frames.begin(), frames.end()));
        for (size_t i = 0; i < frames.size();) {  // a run ends after ten frames at least, or with the clip
            size_t end = i + 1;
            while (end < frames.size() && frames[end] == frames[end - 1] + 1) ++end;
            REQUIRE((end - i >= 10 || frames[end - 1] == 399));
            i = end;
        }
    }
    // away from the beginning a frame is free if none of ten begins a span
    CHECK(static_cast<double>(covered) / (200.0 * 400) == doctest::Approx(1 - std::pow(0.92, 10)).epsilon(0.03));
    CHECK(masked_frames(400, config, {1, 5, 3}) == masked_frames(400, config, {1, 5, 3}));
    CHECK(masked_frames(400, config, {1, 5, 3}) != masked_frames(400, config, {1, 6, 3}));
    CHECK(masked_frames(400, config, {1, 5, 3}) != masked_frames(400, config, {2, 5, 3}));
    CHECK(masked_frames(1, {.start = 0, .length = 10}, {1, 5, 3}) == std::vector<int64_t>{0});
    CHECK(masked_frames(50, {.start = 0, .length = 10}, {1, 5, 3}).size() == 10);
    std::set<int64_t> heard;  // never is all of a clip hidden, and which frame is heard is drawn
    for (int64_t clip = 0; clip < 50; ++clip)
        for (const SpanConfig& all : {SpanConfig{.start = 0, .length = 10}, SpanConfig{.start = 0.999, .length = 3}}) {
            const auto frames = masked_frames(8, all, {1, 5, clip});
            REQUIRE(frames.size() == 7);
            heard.insert(28 - std::accumulate(frames.begin(), frames.end(), int64_t{0}));
        }
    CHECK(heard.size() == 8);
}

TEST_CASE("mixing: a fifth of the clips, half of one at most, at an energy in its range") {
    std::vector<std::vector<float>> clips;
    for (int64_t i = 0; i < 400; ++i) {
        clips.emplace_back(1000);
        for (size_t n = 0; n < 1000; ++n)
            clips.back()[n] = static_cast<float>(i + 1) * (n % 2 ? 0.01f : -0.01f);  // every part has the clip's energy
    }
    int mixed = 0, noisy = 0;
    std::set<int64_t> places;
    for (int64_t i = 0; i < 400; ++i) {
        std::vector<float> x = clips[static_cast<size_t>(i)];
        int asked = 0;
        mix_utterance(x, {}, {1, 9, i}, 400, [&](int64_t other) {
            ++asked;
            CHECK(other != i);
            return std::span<const float>(clips[static_cast<size_t>(other)]);
        });
        double energy = 0;
        int64_t first = -1, last = -1;
        for (int64_t n = 0; n < 1000; ++n) {
            const double d =
                static_cast<double>(x[static_cast<size_t>(n)]) - clips[static_cast<size_t>(i)][static_cast<size_t>(n)];
            if (d == 0) continue;
            energy += d * d;
            if (first < 0) first = n;
            last = n;
        }
        if (first < 0) continue;
        ++mixed;
        noisy += asked == 0;
        places.insert(first);
        CHECK(last - first < 500);
        const double own = std::pow(0.01 * static_cast<double>(i + 1), 2);
        const double decibel = 10 * std::log10(own / (energy / static_cast<double>(last - first + 1)));
        if (last - first < 20) continue;  // the level of a few samples of noise is anything
        CHECK(decibel > (asked ? -5.01 : -7));
        CHECK(decibel < (asked ? 5.01 : 22));
    }
    CHECK(mixed > 50);
    CHECK(mixed < 110);
    CHECK(noisy > 0);
    CHECK(noisy < 30);
    CHECK(places.size() > 40);
}

TEST_CASE("mixing: a pause in the other clip stays one: its level is that of the whole clip") {
    std::vector<float> other(1000, 0.01f);  // quiet but for its first tenth
    std::fill_n(other.begin(), 100, 1.0f);
    const double energy = 0.1 + 0.9e-4;
    int quiet = 0;
    for (int64_t i = 0; i < 300; ++i) {
        std::vector<float> x(1000, 0.5f);
        mix_utterance(x, {.share = 1, .noise_share = 0}, {1, 9, i}, 300,
                      [&](int64_t) { return std::span<const float>(other); });
        const float most = *std::max_element(x.begin(), x.end()) - 0.5f;
        const auto mixed = std::count_if(x.begin(), x.end(), [](float v) { return v != 0.5f; });
        const auto loud = std::count_if(x.begin(), x.end(), [&](float v) { return v - 0.5f > 0.5f * most; });
        if (loud == mixed && mixed <= 100) continue;  // loud all over, or quiet all over?
        const double factor = loud == mixed ? most / 0.01 : most;
        quiet += loud == mixed;
        const double decibel = 10 * std::log10(0.25 / (factor * factor * energy));
        CHECK(decibel > -5.01);
        CHECK(decibel < 5.01);
    }
    CHECK(quiet > 100);
}

TEST_CASE("altering: a share of the clips, of one clip and step alone, at a level that draw_effects may give") {
    std::vector<float> clip(16000);
    for (size_t n = 0; n < clip.size(); ++n) clip[n] = 0.2f * std::sin(0.05f * static_cast<float>(n));
    int altered = 0;
    std::set<int> levels;
    for (int64_t i = 0; i < 200; ++i) {
        std::vector<float> x = clip, again = clip, later = clip;
        alter_utterance(x, 0.3, {1, 9, i});
        alter_utterance(again, 0.3, {1, 9, i});
        alter_utterance(later, 1, {1, 10, i});
        REQUIRE(x.size() == clip.size());
        CHECK(x == again);
        CHECK(later != clip);
        CHECK(later != x);
        if (x == clip) continue;
        ++altered;
        const double level = speech_level(x);
        CHECK(level > -52.5);
        CHECK(level < -2);  // peaks stay below 0.97
        levels.insert(static_cast<int>(level));
    }
    CHECK(altered > 40);
    CHECK(altered < 80);
    CHECK(levels.size() > 8);
    std::vector<float> x = clip;
    alter_utterance(x, 0, {1, 9, 1});
    CHECK(x == clip);
}

TEST_CASE("the loss and its gradients are those of the formula") {
    constexpr size_t dim = 6, code = 4, clusters = 5;
    const PredictionHead head(dim, code, clusters, 3);
    Tensor bias = head.parameters()[1].tensor;
    bias.assign(random({code}, 0.3));
    Tensor x = random({7, dim});
    set_requires_grad(x);
    const std::vector<int32_t> targets{0, 4, 2, 2, 1, 3, 0};
    const auto found = head.loss(x, Tensor::from(targets, {7}));
    std::vector<std::vector<double>> p;
    for (const Parameter& q : head.parameters()) p.push_back(q.tensor.values());
    const std::vector<double> rows = x.values();
    CHECK(found.loss.item() == doctest::Approx(plain_loss(rows, p, targets, dim, code, clusters)).epsilon(1e-6));
    int64_t correct = 0;
    for (size_t i = 0; i < 7; ++i) {  // a row's loss with each target in turn: the least is of the largest logit
        const std::vector<double> row(rows.begin() + static_cast<long>(i * dim),
                                      rows.begin() + static_cast<long>((i + 1) * dim));
        double least = INFINITY;
        int32_t best = -1;
        for (int32_t k = 0; k < static_cast<int32_t>(clusters); ++k)
            if (const double loss = plain_loss(row, p, {k}, dim, code, clusters); loss < least) {
                least = loss;
                best = k;
            }
        correct += best == targets[i];
    }
    CHECK(found.correct == correct);
    backward(found.loss);
    const auto check = [&](const Tensor& t, std::vector<double>& values, const std::vector<double>& of_rows) {
        const std::vector<double> g = grad(t).values();
        for (size_t i = 0; i < values.size(); ++i) {
            const double at = values[i], h = 1e-5;
            values[i] = at + h;
            const double up = plain_loss(of_rows, p, targets, dim, code, clusters);
            values[i] = at - h;
            const double down = plain_loss(of_rows, p, targets, dim, code, clusters);
            values[i] = at;
            CHECK(std::abs(g[i] - (up - down) / (2 * h)) <= 2e-5);
        }
    };
    for (size_t k = 0; k < 3; ++k) check(head.parameters()[k].tensor, p[k], rows);
    std::vector<double> moved = rows;
    check(x, moved, moved);
}

TEST_CASE("a clip's masked frames have the same loss alone and in a batch, and every parameter is reached") {
    const WavlmConfig config = oracle_config(false);
    const WavlmEncoder encoder = oracle_encoder(false);
    const PredictionHead head(config.dim, 8, 7, 1);
    std::vector<int32_t> targets(37);
    for (size_t i = 0; i < targets.size(); ++i) targets[i] = static_cast<int32_t>(i % 7);
    const auto clip = [&](int64_t id, int64_t samples) {
        const Tensor x = tone(samples);
        const auto* p = x.data<float>();
        return MaskedClip{{p, p + samples},
                          std::span<const int32_t>(targets).first(static_cast<size_t>(config.frames(samples))),
                          {1, 2, id}};
    };
    const MaskedClip a = clip(4, 12000), b = clip(9, 7000);
    const auto loss = [&](std::span<const MaskedClip> clips) {
        const MaskedBatch batch = make_masked_batch(clips, config, {});
        return std::pair(masked_prediction(encoder, head, batch), batch.targets.numel());
    };
    const MaskedClip both[] = {a, b};
    const auto [together, n] = loss(both);
    backward(together.loss);
    for (const Parameters* all : {&encoder.parameters(), &head.parameters()})
        for (const Parameter& p : *all) {
            CAPTURE(p.name);
            REQUIRE(grad(p.tensor).defined());
            double sum = 0;
            for (const double g : grad(p.tensor).values()) sum += std::abs(g);
            CHECK(sum > 0);
        }
    const NoGrad no_grad;
    const auto [first, n_first] = loss({&a, 1});
    const auto [second, n_second] = loss({&b, 1});
    CHECK(n == n_first + n_second);
    CHECK(together.correct == first.correct + second.correct);
    CHECK(together.loss.item() * static_cast<double>(n) ==
          doctest::Approx(first.loss.item() * static_cast<double>(n_first) +
                          second.loss.item() * static_cast<double>(n_second))
              .epsilon(1e-6));
    // what is heard counts by its weight: with the two kinds of frames exchanged, its loss is the main one
    const MaskedBatch one = make_masked_batch({&a, 1}, config, {});
    CHECK(one.masked.numel() + one.visible.numel() == 37);
    for (const double row : one.visible.values()) CHECK(one.plan.values()[static_cast<size_t>(row)] == row);
    MaskedBatch exchanged = one;
    std::swap(exchanged.masked, exchanged.visible);
    std::swap(exchanged.targets, exchanged.visible_targets);
    CHECK(masked_prediction(encoder, head, one, 0.5).loss.item() ==
          doctest::Approx(first.loss.item() + 0.5 * masked_prediction(encoder, head, exchanged).loss.item())
              .epsilon(1e-6));
    CHECK(masked_prediction(encoder, head, one, 0.5).correct == first.correct);
    MaskedClip wrong = clip(1, 12000);
    wrong.targets = wrong.targets.first(20);
    CHECK_THROWS_WITH_AS(make_masked_batch({&wrong, 1}, config, {}), "pretrain: clip 1 has 37 frames, but 20 targets",
                         ShapeError);
}
