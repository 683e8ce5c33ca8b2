#include "models/adapter/speech_adapter.h"

#include <cmath>

#include "autograd/ops/add.h"
#include "autograd/ops/conv1d.h"
#include "autograd/ops/gelu.h"
#include "autograd/ops/glu.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/ops/linear.h"

namespace wavllm {

namespace {

constexpr double kNormEps = 1e-5;

}  // namespace

/// Calls parameter(name, shape, fan_in) for every tensor; fan_in 0 marks LayerNorm's weight, -1 its bias.
template <class Make>
void SpeechAdapter::make(const AdapterConfig& c, const std::string& prefix, Make&& parameter) {
    const auto part = [&](const std::string& name, const Shape& weight, int64_t fan_in) {
        return Part{parameter(prefix + name + ".weight", weight, fan_in),
                    parameter(prefix + name + ".bias", Shape{weight[0]}, fan_in == 0 ? -1 : fan_in)};
    };
    taps_ = c.taps;
    conv0_ = part("subsample.conv_layers.0", {c.mid, c.in, c.taps}, c.in * c.taps);
    conv1_ = part("subsample.conv_layers.1", {2 * c.dim, c.mid / 2, c.taps}, c.mid / 2 * c.taps);
    down_ = part("adapter.down_layer", {c.bottleneck, c.dim}, c.dim);
    up_ = part("adapter.up_layer", {c.dim, c.bottleneck}, c.bottleneck);
    norm_ = part("adapter.layer_norm", {c.dim}, 0);
    projector_ = part("projector", {c.out, c.dim}, c.dim);
}

SpeechAdapter::SpeechAdapter(const AdapterConfig& config, const std::string& prefix, uint64_t seed) {
    make(config, prefix, [&](const std::string& name, const Shape& shape, int64_t fan_in) {
        if (fan_in <= 0) return constant_parameter(shape, fan_in == 0 ? 1 : 0, name);
        return uniform_parameter(shape, 1 / std::sqrt(static_cast<double>(fan_in)), seed, name);
    });
}

SpeechAdapter SpeechAdapter::load(const Weights& weights, const AdapterConfig& config, const std::string& prefix) {
    SpeechAdapter adapter;
    adapter.make(config, prefix, [&](const std::string& name, const Shape& shape, int64_t) {
        return make_parameter(weights.f32(name, shape), name);
    });
    return adapter;
}

Tensor SpeechAdapter::forward(const Tensor& x, Tensor& borders, const Observer* observer) const {
    const ConvGeometry geometry{.stride = 2, .padding = taps_ / 2};
    const auto halve = [&](const Tensor& in, const Part& conv) {
        const Tensor y = glu(conv1d(in, borders, conv.weight, conv.bias, geometry));
        borders = kernels::conv1d_borders(borders, taps_, geometry);
        return y;
    };
    const Tensor subsampled = halve(halve(x, conv0_), conv1_);
    observe(observer, "subsampled", subsampled);
    const Tensor wide = linear(gelu(linear(subsampled, down_.weight, down_.bias)), up_.weight, up_.bias);
    const Tensor adapted = layer_norm(wide, norm_.weight, norm_.bias, kNormEps) + subsampled;
    observe(observer, "adapted", adapted);
    const Tensor projected = linear(adapted, projector_.weight, projector_.bias);
    observe(observer, "projected", projected);
    return projected;
}

void SpeechAdapter::append_parameters(Parameters& to) const {
    for (const Part* p : {&conv0_, &conv1_, &down_, &up_, &norm_, &projector_})
        for (const Tensor& t : {p->weight, p->bias}) to.push_back({std::string(t.label()), t, "adapter"});
}

}  // namespace wavllm
