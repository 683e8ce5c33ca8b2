#include "kernels/conv1d/conv1d.h"

#include "kernels/common/check.h"
#include "kernels/linear/linear.h"
#include "tensor/thread_pool.h"

namespace wavllm {

namespace {

/// [C_out, C_in, taps] -> [C_out, taps, C_in], or back.
void swap_last_two(const float* in, int64_t outer, int64_t a, int64_t b, float* out) {
    for (int64_t o = 0; o < outer; ++o)
        for (int64_t i = 0; i < a; ++i)
            for (int64_t j = 0; j < b; ++j) out[(o * b + j) * a + i] = in[(o * a + i) * b + j];
}

void expect_weight(const Tensor& w) {
    kernels::expect("conv1d", "weight", w);
    if (w.rank() != 3) throw ShapeError("conv1d: weight must be [C_out, C_in, taps], but is {}", w.describe());
}

Tensor tap_major(const Tensor& w) {
    expect_weight(w);
    Tensor m = kernels::workspace({w.dim(0), w.dim(2) * w.dim(1)});
    swap_last_two(w.data<float>(), w.dim(0), w.dim(1), w.dim(2), m.mutable_data<float>());
    return m;
}

}  // namespace

PackedConv PackedConv::pack(const Tensor& w, DType panel_dtype) {
    const Tensor f32 = w.dtype() == DType::f32 ? w : w.to(DType::f32);
    Tensor m = tap_major(f32);
    m.set_label(w.label());
    return {PackedWeight::pack(m, panel_dtype), w.dim(2)};
}

namespace kernels {

namespace {

struct Span {
    int64_t begin, rows;
};

Span span_of(std::span<const int64_t> borders, size_t i) {
    return {borders[i], borders[i + 1] - borders[i]};
}

/// A sequence with `padding` rows of zeros before and after it.
void pad(const float* x, Span s, int64_t channels, int64_t padding, float* out) {
    std::fill(out, out + padding * channels, 0.0f);
    std::memcpy(out + padding * channels, x + s.begin * channels,
                static_cast<size_t>(s.rows * channels) * sizeof(float));
    std::fill(out + (padding + s.rows) * channels, out + (2 * padding + s.rows) * channels, 0.0f);
}

int64_t longest(std::span<const int64_t> borders) {
    int64_t rows = 0;
    for (size_t i = 0; i + 1 < borders.size(); ++i) rows = std::max(rows, borders[i + 1] - borders[i]);
    return rows;
}

Tensor run(const Tensor& x, const Tensor& borders, const Panels& w, int64_t taps, const Tensor& bias, ConvGeometry g) {
    expect("conv1d", "x", x);
    if (x.rank() != 2 || x.dim(1) * taps != w.k)
        throw ShapeError("conv1d: weight takes {} channels, but x is {} (expected [T, C_in])", w.k / taps,
                         x.describe());
    if (bias.defined()) expect("conv1d", "bias", bias, {w.n});
    const auto in = borders_of("conv1d", borders, x.dim(0));
    const Tensor out_borders = conv1d_borders(borders, taps, g);
    const auto out = borders_of("conv1d", out_borders, out_borders.data<int64_t>()[in.size() - 1]);
    const int64_t channels = x.dim(1);
    Tensor y = Tensor::empty({out.back(), w.n});
    Tensor padded = workspace({longest(in) + 2 * g.padding, channels});
    float *pp = padded.mutable_data<float>(), *py = y.mutable_data<float>();
    for (size_t i = 0; i + 1 < in.size(); ++i) {
        pad(x.data<float>(), span_of(in, i), channels, g.padding, pp);
        const Span s = span_of(out, i);
        gemm(s.rows, pp, g.stride * channels, w, py + s.begin * w.n, w.n,
             {.bias = bias.defined() ? bias.data<float>() : nullptr});
    }
    return y;
}

/// Sums windows back: dx[t] = sum over taps of dcolumns[(t + padding - tap) / stride][tap], taps in order.
Tensor fold(const Tensor& dcolumns, const Tensor& borders, int64_t taps, int64_t channels, ConvGeometry g) {
    const std::span<const int64_t> in(borders.data<int64_t>(), static_cast<size_t>(borders.numel()));
    const Tensor out_borders = conv1d_borders(borders, taps, g);
    const int64_t* out = out_borders.data<int64_t>();
    Tensor dx = Tensor::zeros({in.back(), channels});
    const float* pc = dcolumns.data<float>();
    float* pdx = dx.mutable_data<float>();
    for (size_t i = 0; i + 1 < in.size(); ++i) {
        const Span s = span_of(in, i);
        const int64_t frames = out[i + 1] - out[i];
        parallel_for(s.rows, row_chunk(channels), [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; ++t)
                for (int64_t tap = 0; tap < taps; ++tap) {
                    const int64_t at = t + g.padding - tap;
                    if (at < 0 || at % g.stride != 0 || at / g.stride >= frames) continue;
                    const float* window = pc + ((out[i] + at / g.stride) * taps + tap) * channels;
                    float* row = pdx + (s.begin + t) * channels;
                    for (int64_t c = 0; c < channels; ++c) row[c] += window[c];
                }
        });
    }
    return dx;
}

}  // namespace

Tensor conv1d_borders(const Tensor& borders, int64_t taps, ConvGeometry geometry) {
    Tensor out = Tensor::empty(borders.shape(), DType::i64);
    const int64_t* in = borders.data<int64_t>();
    int64_t* p = out.mutable_data<int64_t>();
    p[0] = 0;
    for (int64_t i = 1; i < borders.numel(); ++i) p[i] = p[i - 1] + geometry.frames(in[i] - in[i - 1], taps);
    return out;
}

Tensor conv1d(const Tensor& x, const Tensor& borders, const Tensor& w, const Tensor& bias, ConvGeometry geometry) {
    const Tensor matrix = tap_major(w);
    Tensor panels = workspace({panel_elements(matrix.dim(1), matrix.dim(0))});
    const Panels packed =
        pack_rows(matrix.data<float>(), matrix.dim(1), matrix.dim(1), matrix.dim(0), panels.mutable_data<float>());
    return run(x, borders, packed, w.dim(2), bias, geometry);
}

Tensor conv1d(const Tensor& x, const Tensor& borders, const PackedConv& w, const Tensor& bias, ConvGeometry geometry) {
    return run(x, borders, w.weight.panels(), w.taps, bias, geometry);
}

Tensor conv1d_backward_x(const Tensor& dy, const Tensor& borders, const Tensor& w, ConvGeometry geometry) {
    return fold(linear_backward_x(dy, tap_major(w)), borders, w.dim(2), w.dim(1), geometry);
}

Tensor conv1d_backward_x(const Tensor& dy, const Tensor& borders, const PackedConv& w, ConvGeometry geometry) {
    return fold(linear_backward_x(dy, w.weight), borders, w.taps, w.weight.in_features() / w.taps, geometry);
}

void conv1d_backward_w(const Tensor& dy, const Tensor& x, const Tensor& borders, ConvGeometry g, Tensor& dw) {
    expect_weight(dw);
    expect("conv1d backward", "x", x);
    expect("conv1d backward", "dy", dy);
    const int64_t n = dw.dim(0), channels = dw.dim(1), taps = dw.dim(2), k = taps * channels;
    const auto in = borders_of("conv1d backward", borders, x.dim(0));
    const Tensor out_borders = conv1d_borders(borders, taps, g);
    const auto out = borders_of("conv1d backward", out_borders, dy.dim(0));
    Tensor sum = tap_major(dw);
    const int64_t rows = longest(out);
    Tensor padded = workspace({longest(in) + 2 * g.padding, channels});
    Tensor left = workspace({n, rows}), panels = workspace({panel_elements(rows, k)});
    for (size_t i = 0; i + 1 < in.size(); ++i) {
        const Span s = span_of(out, i);
        if (s.rows == 0) continue;
        pad(x.data<float>(), span_of(in, i), channels, g.padding, padded.mutable_data<float>());
        transpose(dy.data<float>() + s.begin * n, s.rows, n, left.mutable_data<float>());
        const Panels windows =
            pack_columns(padded.data<float>(), g.stride * channels, s.rows, k, panels.mutable_data<float>());
        gemm(n, left.data<float>(), s.rows, windows, sum.mutable_data<float>(), k, {.accumulate = true});
    }
    swap_last_two(sum.data<float>(), n, taps, channels, dw.mutable_data<float>());
}

}  // namespace kernels

}  // namespace wavllm
