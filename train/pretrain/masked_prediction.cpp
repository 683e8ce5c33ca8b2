#include "train/pretrain/masked_prediction.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/add.h"
#include "autograd/ops/cross_entropy.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/rms_norm.h"
#include "autograd/ops/rows.h"
#include "autograd/ops/scale.h"
#include "autograd/ops/view.h"
#include "autograd/tape.h"
#include "data/synth/effects.h"
#include "kernels/common/check.h"
#include "tensor/philox.h"

namespace wavllm {

namespace {

constexpr int64_t kClips = int64_t{1} << 22;
constexpr int kFrameBits = 21, kSampleBits = 32;  // what of an index is left to frames, or samples, of one clip

uint64_t index(const ClipDraw& draw, int bits, int64_t i) {
    return (static_cast<uint64_t>(draw.clip) << bits) + static_cast<uint64_t>(i);
}

constexpr EffectShares kElsewhere{.room = 0.5, .noise = 0.5, .band = 0.33, .quiet = 0.07};

/// A whole number below n.
int64_t below(float uniform, int64_t n) {
    return std::min(n - 1, static_cast<int64_t>(static_cast<double>(uniform) * static_cast<double>(n)));
}

double mean_square(std::span<const float> x) {
    double sum = 0;
    for (const float v : x) sum += static_cast<double>(v) * v;
    return sum / static_cast<double>(x.size());
}

int64_t count_correct(const Tensor& x, const Tensor& codes, const Tensor& targets) {
    const NoGrad no_grad;
    const Tensor logits = linear(x.detach(), codes.detach()).to(Device::cpu);
    const int64_t classes = logits.dim(1);
    const float* row = logits.data<float>();
    int64_t correct = 0;
    for (int64_t i = 0; i < logits.dim(0); ++i, row += classes)
        correct += std::max_element(row, row + classes) - row == targets.data<int32_t>()[i];
    return correct;
}

}  // namespace

std::vector<int64_t> masked_frames(int64_t frames, const SpanConfig& config, const ClipDraw& draw) {
    if (draw.clip < 0 || draw.clip >= kClips || frames < 1 || frames >= int64_t{1} << kFrameBits)
        throw ShapeError("pretrain: clip {} of {} frames; masks reach to {} clips of {} frames", draw.clip, frames,
                         kClips, int64_t{1} << kFrameBits);
    const Philox starts(draw.seed, "pretrain.mask", draw.step);
    std::vector<int64_t> result;
    int64_t until = 0;
    for (int64_t t = 0; t < frames; ++t) {
        if (starts.uniform(index(draw, kFrameBits, t)) < config.start) until = t + config.length;
        if (t < until) result.push_back(t);
    }
    const auto clip = static_cast<uint64_t>(draw.clip);
    if (result.empty()) {
        const Philox one(draw.seed, "pretrain.mask.one", draw.step);
        const int64_t first = below(one.uniform(clip), std::max<int64_t>(1, frames - config.length + 1));
        for (int64_t t = first; t < std::min(frames, first + config.length); ++t) result.push_back(t);
    }
    if (frames > 1 && static_cast<int64_t>(result.size()) == frames)
        result.erase(result.begin() + below(Philox(draw.seed, "pretrain.mask.heard", draw.step).uniform(clip), frames));
    return result;
}

void mix_utterance(std::span<float> samples, const MixConfig& config, const ClipDraw& draw, int64_t count,
                   const std::function<std::span<const float>(int64_t)>& others) {
    const Philox rng(draw.seed, "pretrain.mix", draw.step);
    const auto uniform = [&](int64_t i) { return rng.uniform(index(draw, 3, i)); };
    const auto n = static_cast<int64_t>(samples.size());
    if (!(uniform(0) < config.share) || n < 2) return;
    const bool noise = uniform(1) < config.noise_share || count < 2;
    int64_t length = 1 + below(uniform(2), n / 2);
    std::vector<float> part;
    double energy = 0;
    if (noise) {
        const Philox normal(draw.seed, "pretrain.noise", draw.step);
        part.resize(static_cast<size_t>(length));
        for (int64_t i = 0; i < length; ++i) part[static_cast<size_t>(i)] = normal.normal(index(draw, kSampleBits, i));
        energy = mean_square(part);
    } else {
        const std::span<const float> other = others((draw.clip + 1 + below(uniform(3), count - 1)) % count);
        length = std::min(length, static_cast<int64_t>(other.size()));
        const int64_t from = below(uniform(4), static_cast<int64_t>(other.size()) - length + 1);
        part.assign(other.begin() + from, other.begin() + from + length);
        energy = mean_square(other);
    }
    const int64_t to = below(uniform(5), n - length + 1);
    const double decibel = -5 + (noise ? 25 : 10) * static_cast<double>(uniform(6));
    if (energy == 0) return;  // silence has no level that it could be brought to
    const double factor = std::sqrt(mean_square(samples) / (energy * std::pow(10, decibel / 10)));
    for (int64_t i = 0; i < length; ++i)
        samples[static_cast<size_t>(to + i)] += static_cast<float>(factor * part[static_cast<size_t>(i)]);
}

void alter_utterance(std::vector<float>& samples, double share, const ClipDraw& draw) {
    const Philox rng(draw.seed, "pretrain.alter", draw.step);
    if (!(rng.uniform(index(draw, 2, 0)) < share)) return;
    const uint64_t seed = uint64_t{rng.bits(index(draw, 2, 1))} << 32 | rng.bits(index(draw, 2, 2));
    apply_effects(samples, draw_effects(seed, "pretrain", static_cast<uint32_t>(draw.clip), kElsewhere));
}

PredictionHead::PredictionHead(int64_t dim, int64_t code_dim, int64_t clusters, uint64_t seed) {
    const auto keep = [&](const Tensor& t) {
        parameters_.push_back({std::string(t.label()), t, "wavlm"});
        return t;
    };
    weight_ = keep(
        uniform_parameter({code_dim, dim}, 1 / std::sqrt(static_cast<double>(dim)), seed, "prediction.proj.weight"));
    bias_ = keep(constant_parameter({code_dim}, 0, "prediction.proj.bias"));
    codes_ = keep(uniform_parameter({clusters, code_dim}, 1, seed, "prediction.codes"));
    // x / |x| = x / sqrt(mean(x^2)) / sqrt(D)
    const double unit = 1 / std::sqrt(static_cast<double>(code_dim));
    PurposeScope scope(Purpose::weights);
    unit_ = Tensor::full({code_dim}, unit, DType::f32, weight_.device());
    unit_over_temperature_ =
        Tensor::full({code_dim}, unit / static_cast<double>(kTemperature), DType::f32, weight_.device());
}

PredictionHead::Result PredictionHead::loss(const Tensor& x, const Tensor& targets) const {
    constexpr float eps = 1e-12f;  // of the mean square, for rows of zeros
    const Tensor direction = rms_norm(linear(x, weight_, bias_), unit_over_temperature_, eps);
    const Tensor codes = rms_norm(codes_, unit_, eps);
    return {cross_entropy(direction, codes, targets, static_cast<double>(targets.numel())).loss,
            count_correct(direction, codes, targets)};
}

MaskedBatch make_masked_batch(std::span<const MaskedClip> clips, const WavlmConfig& config, const SpanConfig& spans) {
    PurposeScope scope(Purpose::data);
    std::vector<int64_t> lengths;
    std::vector<int32_t> plan, masked, targets, visible, visible_targets;
    int64_t total = 0;
    for (const MaskedClip& c : clips) {
        const auto n = static_cast<int64_t>(c.samples.size());
        const int64_t frames = config.frames(n);
        if (frames != static_cast<int64_t>(c.targets.size()))
            throw ShapeError("pretrain: clip {} has {} frames, but {} targets", c.draw.clip, frames, c.targets.size());
        lengths.push_back(n);
        total += n;
        const auto first = static_cast<int32_t>(plan.size());
        for (int32_t t = 0; t < frames; ++t) plan.push_back(first + t);
        for (const int64_t t : masked_frames(frames, spans, c.draw)) {
            masked.push_back(first + static_cast<int32_t>(t));
            plan[static_cast<size_t>(masked.back())] = -1;
            targets.push_back(c.targets[static_cast<size_t>(t)]);
        }
        for (int32_t t = 0; t < frames; ++t) {
            if (plan[static_cast<size_t>(first + t)] < 0) continue;
            visible.push_back(first + t);
            visible_targets.push_back(c.targets[static_cast<size_t>(t)]);
        }
    }
    MaskedBatch batch;
    batch.samples = Tensor::empty({total});
    float* to = batch.samples.mutable_data<float>();
    for (const MaskedClip& c : clips) to = std::copy(c.samples.begin(), c.samples.end(), to);
    batch.borders = kernels::make_borders(lengths);
    const auto indices = [](const std::vector<int32_t>& v) {
        return Tensor::from(v, {static_cast<int64_t>(v.size())});
    };
    batch.plan = indices(plan);
    batch.masked = indices(masked);
    batch.targets = indices(targets);
    batch.visible = indices(visible);
    batch.visible_targets = indices(visible_targets);
    return batch;
}

PredictionHead::Result masked_prediction(const WavlmEncoder& encoder, const PredictionHead& head,
                                         const MaskedBatch& batch, double visible_weight) {
    const Tensor x = encoder.project(encoder.features(batch.samples, batch.borders));
    const Tensor hidden = reshape(encoder.mask_embedding(), {1, encoder.config().dim});
    const Tensor y = encoder.encode(splice_rows(x, hidden, batch.plan), encoder.frame_borders(batch.borders));
    PredictionHead::Result result = head.loss(gather_rows(y, batch.masked), batch.targets);
    if (visible_weight > 0 && batch.visible.numel() > 0) {
        const Tensor heard = head.loss(gather_rows(y, batch.visible), batch.visible_targets).loss;
        result.loss = result.loss + scale(heard, static_cast<float>(visible_weight));
    }
    return result;
}

}  // namespace wavllm
