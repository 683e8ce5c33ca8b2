#include "models/wavlm/encoder.h"

#include <cmath>

#include "autograd/ops/add.h"
#include "autograd/ops/columns.h"
#include "autograd/ops/conv1d.h"
#include "autograd/ops/gelu.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/mul.h"
#include "autograd/ops/rows.h"
#include "autograd/ops/scale.h"
#include "autograd/ops/segment_scale.h"
#include "autograd/ops/sigmoid.h"
#include "autograd/ops/view.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"

namespace wavllm {

Tensor WavlmEncoder::Affine::operator()(const Tensor& x) const {
    return packed.defined() ? linear(x, packed, bias) : linear(x, weight, bias);
}

Tensor WavlmEncoder::norm(const Norm& n, const Tensor& x) const {
    return layer_norm(x, n.weight, n.bias, config_.norm_eps);
}

Tensor WavlmEncoder::frame_borders(const Tensor& sample_borders) const {
    Tensor out = Tensor::zeros(sample_borders.shape(), DType::i64);
    const int64_t* in = sample_borders.data<int64_t>();
    int64_t* to = out.mutable_data<int64_t>();
    for (int64_t i = 1; i < out.numel(); ++i) to[i] = to[i - 1] + config_.frames(in[i] - in[i - 1]);
    return out;
}

Tensor WavlmEncoder::project(const Tensor& features, const Observer* observer) const {
    const Tensor normed = norm(features_norm_, features);
    observe(observer, "normed_features", normed);
    const Tensor x = projection_(normed);
    observe(observer, "feature_projection", x);
    return x;
}

/// How strongly every row and head takes positions into account (Chen et al. 2022, eq. 4 to 6, with the constant as
/// released): a (b c - 1) + 2, where a and b are sigmoids of sums of four projections of the head's part of x. [T, heads].
Tensor WavlmEncoder::gate(const Layer& l, const Tensor& x, const Call& call) const {
    const int64_t rows = x.dim(0), heads = config_.heads;
    const Tensor projected = l.gate(reshape(x, {rows * heads, config_.head_dim()}));
    if (call.observer && &l == layers_.data())
        observe(call.observer, "gate_projection", projected.reshape({rows, heads, 8}));
    const Tensor ab = sigmoid(linear(projected, fours_));
    const Tensor a = reshape(slice_columns(ab, 0, 1), {rows, heads}),
                 b = reshape(slice_columns(ab, 1, 2), {rows, heads});
    return mul(a, segment_scale(b, reshape(l.gate_constant, {1, heads}), call.whole)) + scale(a, -1) + call.two;
}

Tensor WavlmEncoder::attend(const Layer& l, const Tensor& x, const Call& call) const {
    const int64_t rows = x.dim(0), heads = config_.heads, dh = config_.head_dim();
    const double scale_factor = 1 / std::sqrt(static_cast<double>(dh));
    const AttentionLayout layout{call.borders, call.borders, AttentionMask::full, scale_factor};
    const AttentionBias bias{gate(l, x, call), call.by_distance};
    if (trainable_) {
        const auto part = [&](const Affine& projection) { return reshape(projection(x), {rows, heads, dh}); };
        return l.out(attention(part(l.q), part(l.k), part(l.v), layout, bias));
    }
    const Tensor qkv = l.qkv(x).reshape({rows, 3 * heads, dh});
    const auto part = [&](int64_t i) { return qkv.slice(1, i * heads, (i + 1) * heads); };
    return l.out(attention(part(0), part(1), part(2), layout, bias));
}

Tensor WavlmEncoder::block(const Layer& l, const Tensor& x, const Call& call) const {
    const auto feed_forward = [&](const Tensor& h) { return l.down(gelu(l.up(h))); };
    if (config_.pre_norm) {
        const Tensor h = x + attend(l, norm(l.attention_norm, x), call);
        return h + feed_forward(norm(l.final_norm, h));
    }
    const Tensor h = norm(l.attention_norm, x + attend(l, x, call));
    return norm(l.final_norm, h + feed_forward(h));
}

/// Calls each(i, hidden state i) for the input of the first layer and the output of each.
template <class Each>
void WavlmEncoder::run_layers(const Tensor& x, const Tensor& borders, int64_t layers, const Observer* observer,
                              Each&& each) const {
    if (x.rank() != 2 || x.dim(1) != config_.dim)
        throw ShapeError("wavlm: x must be [frames, {}], but is {}", config_.dim, x.describe());
    const int64_t kernel = config_.position_kernel, rows = x.dim(0);
    const Tensor positions = gelu(positions_(
        x, borders,
        {.stride = 1, .padding = kernel / 2, .groups = config_.position_groups, .drop_last = kernel % 2 == 0 ? 1 : 0}));
    observe(observer, "pos_conv", positions);
    const Call call{.borders = borders,
                    .by_distance = trainable_ ? gather_rows(distance_table_, distance_buckets_) : by_distance_,
                    .whole = kernels::make_borders({&rows, 1}),
                    .two = Tensor::full({rows, config_.heads}, 2, x.dtype(), device()),
                    .observer = observer};
    const auto show = [&](int64_t i, const Tensor& h) {
        if (observer) observe(observer, fmt::format("hidden{}", i), h);
        each(i, h);
    };
    Tensor h = x + positions;
    if (!config_.pre_norm) h = norm(encoder_norm_, h);
    show(0, h);
    for (int64_t i = 0; i < layers; ++i) {
        h = block(layers_[static_cast<size_t>(i)], h, call);
        if (config_.pre_norm && i + 1 == config_.layers) h = norm(encoder_norm_, h);
        show(i + 1, h);
    }
}

Tensor WavlmEncoder::encode(const Tensor& x, const Tensor& borders, int64_t layers, const Observer* observer) const {
    if (layers > config_.layers)
        throw UsageError("wavlm: layer {} is asked for, but there are {}", layers, config_.layers);
    Tensor last;
    run_layers(x, borders, layers < 0 ? config_.layers : layers, observer, [&](int64_t, const Tensor& h) { last = h; });
    return last;
}

Tensor WavlmEncoder::forward(const Tensor& samples, const Tensor& borders, const Observer* observer) const {
    const NoGrad no_grad;
    const Tensor x = project(features(samples, borders, observer), observer);
    Tensor all = Tensor::empty({config_.layers + 1, x.dim(0), config_.dim}, x.dtype(), device());
    run_layers(x, frame_borders(borders), config_.layers, observer,
               [&](int64_t i, const Tensor& h) { all.select(0, i).assign(h); });
    return all;
}

}  // namespace wavllm
