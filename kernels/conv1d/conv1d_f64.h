#pragma once
// Convolution in double, by its definition.

#include <vector>

#include "kernels/common/f64.h"
#include "kernels/conv1d/conv1d.h"

namespace wavllm::kernels::f64 {

/// f(output row, tap, input row) for every frame and tap that meets a row of its own sequence.
template <class F>
void for_each_tap(std::string_view op, const Tensor& x_borders, int64_t x_rows, const Tensor& y_borders, int64_t y_rows,
                  int64_t taps, ConvGeometry g, F&& f) {
    const auto in = borders_of(op, x_borders, x_rows), out = borders_of(op, y_borders, y_rows);
    for (size_t s = 0; s + 1 < in.size(); ++s)
        for (int64_t t = 0; t < out[s + 1] - out[s]; ++t)
            for (int64_t tap = 0; tap < taps; ++tap) {
                const int64_t at = t * g.stride + tap - g.padding;
                if (at >= 0 && at < in[s + 1] - in[s]) f(out[s] + t, tap, in[s] + at);
            }
}

/// The weight [C_out, C_in / groups, taps] again, which packing in f64 leaves as it is.
inline Tensor unpacked(const PackedConv& w) {
    return w.weight.stored().reshape({w.out_channels, w.weight.in_features() / w.taps, w.taps});
}

/// Borders of the result. A sequence gives the frames whose taps all lie in it and its padding, but the last of them that
/// are left out.
inline Tensor frame_borders(const Tensor& borders, int64_t taps, ConvGeometry g) {
    std::vector<int64_t> frames;
    for (int64_t s = 0; s + 1 < borders.numel(); ++s) {
        const int64_t rows = borders.data<int64_t>()[s + 1] - borders.data<int64_t>()[s];
        int64_t n = 0;
        while (n * g.stride + taps <= rows + 2 * g.padding) ++n;
        frames.push_back(std::max<int64_t>(0, n - g.drop_last));
    }
    return make_borders(frames);
}

struct ConvSizes64 {
    int64_t out, channels, taps;  ///< output channels, input channels of a group, taps
    int64_t each;                 ///< output channels of a group

    /// Of input channel c of the group of output channel o.
    int64_t input(int64_t o, int64_t c) const {
        return o / each * channels + c;
    }
};

inline ConvSizes64 conv_sizes(std::string_view op, const Tensor& w, int64_t in_channels, ConvGeometry g) {
    expect(op, "weight", w, DType::f64);
    if (w.rank() != 3 || g.groups < 1 || w.dim(0) % g.groups != 0 || w.dim(1) * g.groups != in_channels)
        throw ShapeError("{}: weight {} in {} groups does not fit {} input channels", op, w.describe(), g.groups,
                         in_channels);
    return {w.dim(0), w.dim(1), w.dim(2), w.dim(0) / g.groups};
}

inline Tensor conv1d(const Tensor& x, const Tensor& borders, const Tensor& w, const Tensor& bias, ConvGeometry g) {
    const In px("conv1d", "x", x), pw("conv1d", "weight", w);
    const ConvSizes64 z = conv_sizes("conv1d", w, px.columns(), g);
    const Tensor y_borders = frame_borders(borders, z.taps, g);
    const int64_t rows = y_borders.data<int64_t>()[borders.numel() - 1];
    Tensor y = zeros({rows, z.out});
    double* py = y.mutable_data<double>();
    if (bias.defined()) {
        const In pb("conv1d", "bias", bias, {z.out});
        for (int64_t i = 0; i < y.numel(); ++i) py[i] = pb[i % z.out];
    }
    for_each_tap("conv1d", borders, px.rows(), y_borders, rows, z.taps, g, [&](int64_t t, int64_t tap, int64_t at) {
        for (int64_t o = 0; o < z.out; ++o)
            for (int64_t c = 0; c < z.channels; ++c)
                py[t * z.out + o] += px[at * px.columns() + z.input(o, c)] * pw[(o * z.channels + c) * z.taps + tap];
    });
    return y;
}

inline Tensor conv1d_backward_x(const Tensor& dy, const Tensor& borders, const Tensor& w, ConvGeometry g) {
    const In pdy("conv1d backward", "dy", dy), pw("conv1d backward", "weight", w);
    const int64_t columns = w.dim(1) * g.groups, rows = borders.data<int64_t>()[borders.numel() - 1];
    const ConvSizes64 z = conv_sizes("conv1d backward", w, columns, g);
    Tensor dx = zeros({rows, columns});
    double* pdx = dx.mutable_data<double>();
    for_each_tap("conv1d backward", borders, rows, frame_borders(borders, z.taps, g), pdy.rows(), z.taps, g,
                 [&](int64_t t, int64_t tap, int64_t at) {
                     for (int64_t o = 0; o < z.out; ++o)
                         for (int64_t c = 0; c < z.channels; ++c)
                             pdx[at * columns + z.input(o, c)] +=
                                 pdy[t * z.out + o] * pw[(o * z.channels + c) * z.taps + tap];
                 });
    return dx;
}

inline void conv1d_backward_w(const Tensor& dy, const Tensor& x, const Tensor& borders, ConvGeometry g, Tensor& dw) {
    const In pdy("conv1d backward", "dy", dy), px("conv1d backward", "x", x);
    const ConvSizes64 z = conv_sizes("conv1d backward", dw, px.columns(), g);
    double* pdw = dw.mutable_data<double>();
    for_each_tap("conv1d backward", borders, px.rows(), frame_borders(borders, z.taps, g), pdy.rows(), z.taps, g,
                 [&](int64_t t, int64_t tap, int64_t at) {
                     for (int64_t o = 0; o < z.out; ++o)
                         for (int64_t c = 0; c < z.channels; ++c)
                             pdw[(o * z.channels + c) * z.taps + tap] +=
                                 pdy[t * z.out + o] * px[at * px.columns() + z.input(o, c)];
                 });
}

}  // namespace wavllm::kernels::f64
