#include "models/lora/lora.h"

#include <cmath>

#include "autograd/ops/linear.h"
#include "autograd/ops/rows.h"
#include "autograd/ops/scale.h"
#include "tensor/error.h"
#include "tensor/philox.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

std::string name_of(int64_t layer, size_t target, char part) {
    return fmt::format("layers.{}.attention.{}_lora_{}", layer, kLoraTargets[target], part);
}

uint32_t dropout_purpose(int64_t layer, size_t target) {
    return purpose_hash(fmt::format("dropout.layers.{}.{}", layer, kLoraTargets[target]));
}

}  // namespace

std::array<bool, 4> lora_targets(std::string_view letters) {
    constexpr std::string_view kNames = "qkvo";
    std::array<bool, 4> targets{};
    bool good = !letters.empty();
    for (size_t i = 0; i < letters.size() && good; ++i) {
        const size_t t = kNames.find(letters[i]);
        good = i % 2 == 1 ? letters[i] == ',' && i + 1 < letters.size() : t != std::string_view::npos && !targets[t];
        if (good && i % 2 == 0) targets[t] = true;
    }
    if (!good) throw UsageError("lora.targets: \"{}\" should be some of q, k, v and o, as \"q,v\"", printable(letters));
    return targets;
}

LoraRun LoraRun::times(double factor) const {
    if (factor == 1) return *this;
    const auto f = static_cast<float>(factor);
    LoraRun run = *this;
    run.scale.s *= f;
    if (run.scale.r.defined()) run.scale.r = wavllm::scale(run.scale.r, f);
    if (run.kv_r.defined()) run.kv_r = wavllm::scale(run.kv_r, f);
    return run;
}

LoraRun LoraRun::of(const Tensor& index) const {
    LoraRun run = *this;
    if (scale.r.defined()) run.scale.r = gather_rows(scale.r, index);
    if (kv_r.defined()) run.kv_r = gather_rows(kv_r, index);
    return run;
}

Lora::Lora(const LoraConfig& config, int64_t layers, const std::array<std::pair<int64_t, int64_t>, 4>& dims,
           uint64_t seed)
    : config_(config) {
    for (int64_t layer = 0; layer < layers; ++layer)
        for (size_t t = 0; t < 4; ++t) {
            const auto [in, out] = dims[t];
            if (!config.targets[t]) {
                pairs_.emplace_back();
                continue;
            }
            pairs_.push_back({uniform_parameter({in, config.rank}, 1 / std::sqrt(static_cast<double>(in)), seed,
                                                name_of(layer, t, 'A')),
                              constant_parameter({config.rank, out}, 0, name_of(layer, t, 'B')),
                              dropout_purpose(layer, t)});
        }
}

Lora Lora::load(const Weights& weights, const LoraConfig& config, int64_t layers,
                const std::array<std::pair<int64_t, int64_t>, 4>& dims) {
    Lora lora;
    lora.config_ = config;
    for (int64_t layer = 0; layer < layers; ++layer)
        for (size_t t = 0; t < 4; ++t) {
            if (!config.targets[t]) {
                lora.pairs_.emplace_back();
                continue;
            }
            const std::string a = name_of(layer, t, 'A'), b = name_of(layer, t, 'B');
            lora.pairs_.push_back({make_parameter(weights.f32(a, {dims[t].first, config.rank}), a),
                                   make_parameter(weights.f32(b, {config.rank, dims[t].second}), b),
                                   dropout_purpose(layer, t)});
        }
    return lora;
}

Tensor Lora::apply(const Tensor& x, const PackedWeight& w, int64_t layer, LoraTarget target, const LoraRun* run) const {
    if (!run || !defined()) return linear(x, w);
    const LoraPair& p = pair(layer, target);
    if (!p.a.defined()) return linear(x, w);
    const DropoutKey drop{run->dropout, run->seed, p.dropout_purpose, run->step, run->row_keys};
    LoraScale strength = run->scale;
    if (run->kv_r.defined() && (target == LoraTarget::k || target == LoraTarget::v)) strength.r = run->kv_r;
    return lora_linear(x, w, p.a, p.b, strength, &drop);
}

Parameters Lora::parameters() const {
    Parameters result;
    for (const LoraPair& pair : pairs_) {
        if (!pair.a.defined()) continue;
        result.push_back({std::string(pair.a.label()), pair.a, "lora", 1});  // no gradient reaches A while B is zero
        result.push_back({std::string(pair.b.label()), pair.b, "lora"});
    }
    return result;
}

}  // namespace wavllm
