// From the waveform to features: seven convolutions, 400 samples wide and 320 apart in all.

#include <cmath>

#include "autograd/ops/conv1d.h"
#include "autograd/ops/gelu.h"
#include "autograd/ops/group_norm.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "models/wavlm/encoder.h"

namespace wavllm {

namespace {

constexpr double kConvNormEps = 1e-5;
// Frames of the result that a frozen front end computes at a time, 2.56 s: its widest layer then takes 16 MiB.
constexpr int64_t kChunkFrames = 128;

Tensor one_sequence(int64_t rows) {
    return kernels::make_borders({&rows, 1});
}

/// Mean and covariance of the windows that a convolution of one channel sees, in f64.
struct WindowMoments {
    template <class T>
    WindowMoments(const T* x, int64_t samples, int64_t taps, int64_t stride)
        : n(static_cast<size_t>(taps)), mean(n), covariance(n * n) {
        const int64_t windows = (samples - taps) / stride + 1;
        std::vector<double> w(n);
        for (int64_t t = 0; t < windows; ++t) {
            for (size_t k = 0; k < n; ++k) mean[k] += w[k] = x[t * stride + static_cast<int64_t>(k)];
            for (size_t k = 0; k < n; ++k)
                for (size_t l = 0; l <= k; ++l) covariance[k * n + l] += w[k] * w[l];
        }
        for (double& m : mean) m /= static_cast<double>(windows);
        for (size_t k = 0; k < n; ++k)
            for (size_t l = 0; l <= k; ++l)
                covariance[k * n + l] = covariance[l * n + k] =
                    covariance[k * n + l] / static_cast<double>(windows) - mean[k] * mean[l];
    }

    size_t n;
    std::vector<double> mean, covariance;
};

}  // namespace

Tensor WavlmEncoder::Conv::operator()(const Tensor& x, const Tensor& borders, ConvGeometry geometry) const {
    return packed.weight.defined() ? conv1d(x, borders, packed, bias, geometry)
                                   : conv1d(x, borders, weight, bias, geometry);
}

/// The first convolution of base and its GroupNorm, one channel a group, as a convolution of this clip. Its output is
/// w.x for windows x of one channel, so over all time its mean is w.m and its variance w'Cw, with m and C those of the
/// windows: the statistics of a clip of any length are known before anything is convolved. Its bias, if it has one,
/// goes with the mean.
template <class T>
WavlmEncoder::Conv WavlmEncoder::fold_group_norm(const Tensor& samples) const {
    const Conv& c = convs_[0];
    const int64_t channels = config_.conv_dim[0], taps = config_.conv_kernel[0];
    const WindowMoments moments(samples.data<T>(), samples.numel(), taps, config_.conv_stride[0]);
    Tensor weight = Tensor::empty(c.weight.shape(), samples.dtype()), bias = Tensor::empty({channels}, samples.dtype());
    const T *w = c.weight.data<T>(), *scale = c.norm.weight.data<T>(), *shift = c.norm.bias.data<T>();
    for (int64_t o = 0; o < channels; ++o, w += taps) {
        double mean = 0, variance = 0;
        for (size_t k = 0; k < moments.n; ++k) {
            mean += w[k] * moments.mean[k];
            for (size_t l = 0; l < moments.n; ++l)
                variance += static_cast<double>(w[k]) * w[l] * moments.covariance[k * moments.n + l];
        }
        const double factor = scale[o] / std::sqrt(std::max(variance, 0.0) + static_cast<T>(kConvNormEps));
        for (int64_t k = 0; k < taps; ++k) weight.mutable_data<T>()[o * taps + k] = static_cast<T>(w[k] * factor);
        bias.mutable_data<T>()[o] = static_cast<T>(shift[o] - mean * factor);
    }
    Conv folded;
    folded.packed = PackedConv::pack(weight.to(device()));
    folded.bias = bias.to(device());
    return folded;
}

/// samples: [N] of one clip, in the dtype of the weights. A frame's bits do not depend on where chunks begin.
Tensor WavlmEncoder::clip_features(const Tensor& samples, const Observer* observer) const {
    const int64_t frames = config_.frames(samples.numel()), chunk = observer ? frames : kChunkFrames;
    const Conv first = config_.conv_layer_norm         ? convs_[0]
                       : samples.dtype() == DType::f64 ? fold_group_norm<double>(samples)
                                                       : fold_group_norm<float>(samples);
    Tensor result = Tensor::empty({frames, config_.conv_dim.back()}, samples.dtype(), device());
    for (int64_t begin = 0; begin < frames; begin += chunk) {
        const int64_t end = std::min(begin + chunk, frames), from = begin * config_.hop(),
                      to = (end - 1) * config_.hop() + config_.window();
        // observed, layers are shown to their last frame
        Tensor h = samples.slice(0, from, observer ? samples.numel() : to).to(device());
        h = h.reshape({h.numel(), 1});
        for (size_t i = 0; i < convs_.size(); ++i) {
            const Conv& c = i == 0 ? first : convs_[i];
            h = c(h, one_sequence(h.dim(0)), {.stride = config_.conv_stride[i]});
            if (config_.conv_layer_norm) h = layer_norm(h, c.norm.weight, c.norm.bias, kConvNormEps);
            h = gelu(h);
            if (observer) observe(observer, fmt::format("conv{}", i), h);
        }
        result.slice(0, begin, end).assign(h);
    }
    return result;
}

Tensor WavlmEncoder::features(const Tensor& waveforms, const Tensor& borders, const Observer* observer) const {
    kernels::expect("wavlm", "samples", waveforms, Shape{waveforms.numel()});
    const Tensor samples = dtype() == DType::f64 ? waveforms.to(DType::f64) : waveforms;
    const auto b = kernels::borders_of("wavlm", borders, samples.numel());
    for (size_t i = 0; i + 1 < b.size(); ++i)
        if (config_.frames(b[i + 1] - b[i]) < 1)
            throw ShapeError("wavlm: clip {} has {} samples, but a frame takes {} (at 16 kHz); leave it out or pad it",
                             i, b[i + 1] - b[i], config_.window());
    Tensor h;
    if (trainable_) {
        h = samples.to(device()).reshape({samples.numel(), 1});
        Tensor at = borders;
        for (size_t i = 0; i < convs_.size(); ++i) {
            const Conv& c = convs_[i];
            const ConvGeometry geometry{.stride = config_.conv_stride[i]};
            h = c(h, at, geometry);
            at = kernels::conv1d_borders(at, config_.conv_kernel[i], geometry);
            if (config_.conv_layer_norm)
                h = layer_norm(h, c.norm.weight, c.norm.bias, kConvNormEps);
            else if (i == 0)
                h = group_norm(h, at, c.norm.weight, c.norm.bias, config_.conv_dim[0], kConvNormEps);
            h = gelu(h);
            if (observer) observe(observer, fmt::format("conv{}", i), h);
        }
    } else {
        const Tensor out = frame_borders(borders);
        const int64_t* to = out.data<int64_t>();
        h = Tensor::empty({to[b.size() - 1], config_.conv_dim.back()}, samples.dtype(), device());
        for (size_t i = 0; i + 1 < b.size(); ++i)
            h.slice(0, to[i], to[i + 1]).assign(clip_features(samples.slice(0, b[i], b[i + 1]), observer));
    }
    observe(observer, "features", h);
    return h;
}

}  // namespace wavllm
