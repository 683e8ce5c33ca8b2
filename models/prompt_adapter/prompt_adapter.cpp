#include "models/prompt_adapter/prompt_adapter.h"

#include <cmath>

#include "autograd/ops/add_bias.h"
#include "autograd/ops/attention_pool.h"
#include "autograd/ops/clamp.h"
#include "autograd/ops/gelu.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/rows.h"
#include "autograd/ops/view.h"
#include "kernels/attention_pool/attention_pool.h"
#include "kernels/common/check.h"

namespace wavllm {

namespace {

constexpr const char *kFc1 = "scale_fc_1", *kFc2 = "scale_fc_2", *kScore = "scale_weight_attention";

std::string weight(const char* layer) {
    return std::string(layer) + ".weight";
}
std::string bias(const char* layer) {
    return std::string(layer) + ".bias";
}

}  // namespace

PromptAdapter::PromptAdapter(const PromptAdapterConfig& config, uint64_t seed) : config_(config) {
    const auto [d, h] = std::pair(config.dim, config.hidden);
    if (d <= 0 || h <= 0) throw UsageError("prompt_adapter: {} -> {} -> {} features make no sense", d, h, d);
    if (config.clamp < 0 || (config.clamp > 0 && !(config.start > 0 && config.start <= config.clamp)))
        throw UsageError(
            "prompt_adapter: it starts with r = alpha / rank = {}, which its limits 0 and {} cut off: no gradient "
            "would "
            "pass; choose lora.alpha and lora.rank so that it lies between them, or prompt_adapter.clamp=0",
            config.start, config.clamp);
    const double bound = 1 / std::sqrt(static_cast<double>(d));  // that of torch's linear layers
    fc1_ = uniform_parameter({h, d}, bound, seed, weight(kFc1));
    fc1_bias_ = uniform_parameter({h}, bound, seed, bias(kFc1));
    fc2_ = constant_parameter({d, h}, 0, weight(kFc2));
    fc2_bias_ = constant_parameter({d}, config.start, bias(kFc2));
    score_ = uniform_parameter({1, d}, bound, seed, weight(kScore));
    score_bias_ = constant_parameter({1}, 0, bias(kScore));
}

PromptAdapter PromptAdapter::load(const Weights& weights, const PromptAdapterConfig& config) {
    PromptAdapter p;
    p.config_ = config;
    const auto get = [&](const std::string& name, const Shape& shape) {
        return make_parameter(weights.f32(name, shape), name);
    };
    p.fc1_ = get(weight(kFc1), {config.hidden, config.dim});
    p.fc1_bias_ = get(bias(kFc1), {config.hidden});
    p.fc2_ = get(weight(kFc2), {config.dim, config.hidden});
    p.fc2_bias_ = get(bias(kFc2), {config.dim});
    p.score_ = get(weight(kScore), {1, config.dim});
    p.score_bias_ = get(bias(kScore), {1});
    return p;
}

Tensor PromptAdapter::forward(const Tensor& t, const Tensor& borders, const Observer* observer) const {
    const auto b = kernels::borders_of("prompt_adapter", borders, t.dim(0));
    for (size_t s = 0; s + 1 < b.size(); ++s)
        if (b[s] == b[s + 1]) throw ShapeError("prompt_adapter: instruction {} has no tokens", s);
    const Tensor inner = linear(t, fc1_, fc1_bias_), g = gelu(inner);
    const Tensor p = linear(g, fc2_);  // o without fc2's bias, which moves all scores of an instruction alike
    const Tensor scores = linear(p, score_, score_bias_);
    // eq. 3, with the bias added to the sum instead of to its parts
    const Tensor raw = add_bias(attention_pool(p, scores, borders), fc2_bias_);
    const Tensor r = config_.clamp > 0 ? clamp(raw, 0, config_.clamp) : raw;
    if (observer) {
        observe(observer, "fc1", inner);
        observe(observer, "o", add_bias(p, fc2_bias_));
        observe(observer, "a", kernels::attention_pool(p.detach(), scores.detach(), borders).weights);
        observe(observer, "r_raw", raw);
        observe(observer, "r", r);
    }
    return r;
}

Parameters PromptAdapter::parameters() const {
    if (!defined()) return {};
    // fc1 and w wait for fc2's weight, and that for LoRA's B where both begin in one stage. The score's bias moves no
    // softmax: its true gradient is zero.
    constexpr int64_t kWithLora = 1, kBehindFc2 = 2;
    return {{std::string(fc1_.label()), fc1_, "prompt", kBehindFc2},
            {std::string(fc1_bias_.label()), fc1_bias_, "prompt", kBehindFc2},
            {std::string(fc2_.label()), fc2_, "prompt", kWithLora},
            {std::string(fc2_bias_.label()), fc2_bias_, "prompt", kWithLora},
            {std::string(score_.label()), score_, "prompt", kBehindFc2},
            {std::string(score_bias_.label()), score_bias_, "prompt", Parameter::kAlways}};
}

Tensor shared_heads(const Tensor& r, int64_t heads, int64_t kv_heads) {
    if (heads == kv_heads) return r;
    const int64_t requests = r.dim(0), group = heads / kv_heads, d = r.dim(1) / heads;
    Tensor index = Tensor::empty({requests * kv_heads}, DType::i32);
    for (int64_t i = 0; i < index.numel(); ++i) index.mutable_data<int32_t>()[i] = static_cast<int32_t>(i * group);
    return reshape(gather_rows(reshape(r, {requests * heads, d}), index), {requests, kv_heads * d});
}

}  // namespace wavllm
