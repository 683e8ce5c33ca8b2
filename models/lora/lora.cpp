#include "models/lora/lora.h"

#include <cmath>

#include "autograd/ops/linear.h"
#include "tensor/philox.h"

namespace wavllm {

namespace {

std::string name_of(int64_t layer, size_t target, char part) {
    return fmt::format("layers.{}.attention.{}_lora_{}", layer, kLoraTargets[target], part);
}

uint32_t dropout_purpose(int64_t layer, size_t target) {
    return purpose_hash(fmt::format("dropout.layers.{}.{}", layer, kLoraTargets[target]));
}

}  // namespace

Lora::Lora(const LoraConfig& config, int64_t layers, const std::array<std::pair<int64_t, int64_t>, 4>& dims,
           uint64_t seed)
    : config_(config) {
    for (int64_t layer = 0; layer < layers; ++layer)
        for (size_t t = 0; t < 4; ++t) {
            const auto [in, out] = dims[t];
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
    const DropoutKey drop{run->dropout, run->seed, p.dropout_purpose, run->step, run->row_keys};
    return lora_linear(x, w, p.a, p.b, run->scale, &drop);
}

Parameters Lora::parameters() const {
    Parameters result;
    for (const LoraPair& pair : pairs_) {
        result.push_back({std::string(pair.a.label()), pair.a, "lora", true});  // no gradient reaches A while B is zero
        result.push_back({std::string(pair.b.label()), pair.b, "lora"});
    }
    return result;
}

}  // namespace wavllm
