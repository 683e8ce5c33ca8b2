#include "models/connector/pooled.h"

#include <cmath>

#include "autograd/ops/attention_pool.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/rows.h"
#include "models/connector/windows.h"

namespace wavllm {

namespace {

constexpr float kNormEps = 1e-5f;

}  // namespace

/// Calls parameter(name, shape, fan_in) for every tensor; fan_in 0 marks LayerNorm's weight, -1 its bias.
template <class Make>
void PooledConnector::make(const PooledConfig& c, Make&& parameter) {
    if (c.frames < 1) throw ShapeError("pooled connector: the mean of {} frames; it must be of at least 1", c.frames);
    config_ = c;
    norm_weight_ = parameter("ln_post.weight", Shape{c.in}, 0);
    norm_bias_ = parameter("ln_post.bias", Shape{c.in}, -1);
    weight_ = parameter("proj.weight", Shape{c.out, c.in}, c.in);
    bias_ = parameter("proj.bias", Shape{c.out}, c.in);
}

PooledConnector::PooledConnector(const PooledConfig& config, uint64_t seed) {
    make(config, [&](const std::string& name, const Shape& shape, int64_t fan_in) {
        if (fan_in <= 0) return constant_parameter(shape, fan_in == 0 ? 1 : 0, name);
        return uniform_parameter(shape, 1 / std::sqrt(static_cast<double>(fan_in)), seed, name);
    });
}

PooledConnector PooledConnector::load(const Weights& weights, const PooledConfig& config) {
    PooledConnector c;
    c.make(config, [&](const std::string& name, const Shape& shape, int64_t) {
        return make_parameter(weights.f32(name, shape), name);
    });
    return c;
}

Tensor PooledConnector::forward(const Tensor& x, Tensor& borders, const Observer* observer) const {
    const Windows windows = cut_windows(borders, config_.frames);
    const Tensor frames = windows.frames.defined() ? gather_rows(x, windows.frames) : x;
    // equal scores: the weighted sum of a window is its mean
    const Tensor scores = Tensor::zeros({frames.dim(0)}, DType::f32, x.device());
    const Tensor pooled = attention_pool(frames, scores, windows.borders);
    observe(observer, "pooled", pooled);
    borders = windows.owners;
    const Tensor projected = linear(layer_norm(pooled, norm_weight_, norm_bias_, kNormEps), weight_, bias_);
    observe(observer, "projected", projected);
    return projected;
}

int64_t PooledConnector::rows(int64_t t) const {
    return window_count(t, config_.frames);
}

void PooledConnector::append_parameters(Parameters& to) const {
    for (const Tensor& t : {norm_weight_, norm_bias_, weight_, bias_})
        to.push_back({std::string(t.label()), t, "adapter"});
}

}  // namespace wavllm
