#include "kernels/conv1d/conv1d.h"

#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/conv1d/conv1d_body.h"
#include "kernels/conv1d/conv1d_f64.h"
#include "kernels/conv1d/on_device.h"
#include "kernels/gemm/gemm_device.h"
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
    kernels::expect("conv1d", "weight", w, DType::f32, w.device());
    if (w.rank() != 3) throw ShapeError("conv1d: weight must be [C_out, C_in, taps], but is {}", w.describe());
}

Tensor tap_major(const Tensor& w) {
    expect_weight(w);
    Tensor m = kernels::workspace({w.dim(0), w.dim(2) * w.dim(1)}, w.device());
    if (w.device() != Device::cpu) {
        kernels::on(kernels::conv1d_swap_body, w.device())(w.device_data<float>(), w.dim(0), w.dim(1), w.dim(2),
                                                           m.mutable_device_data<float>());
        return m;
    }
    swap_last_two(w.data<float>(), w.dim(0), w.dim(1), w.dim(2), m.mutable_data<float>());
    return m;
}

}  // namespace

PackedConv PackedConv::pack(const Tensor& w, DType panel_dtype, int64_t groups) {
    if (w.dtype() == DType::f64 && w.rank() == 3 && groups > 0 && w.dim(0) % groups == 0)
        return {PackedWeight::pack(w.reshape({w.dim(0), w.dim(1) * w.dim(2)})), w.dim(2), groups, w.dim(0)};
    const Tensor f32 = w.dtype() == DType::f32 ? w : w.to(DType::f32);
    Tensor m = tap_major(f32);
    const int64_t n = w.dim(0), k = m.dim(1), each = n / std::max<int64_t>(1, groups);
    if (groups < 1 || n % groups != 0)
        throw ShapeError("conv1d: {} groups do not divide the output channels of {}", groups, w.describe());
    if (groups > 1 && each % kernels::kPanel != 0) {
        const int64_t step = kernels::conv1d_group_step(each);
        const Tensor dense = m.to(Device::cpu);
        m = Tensor::zeros({groups * step, k});
        for (int64_t g = 0; g < groups; ++g) {
            const float* from = dense.data<float>() + g * each * k;
            std::copy(from, from + each * k, m.mutable_data<float>() + g * step * k);
        }
        m = m.to(w.device());
    }
    m.set_label(w.label());
    if (info(panel_dtype).frozen_block) panel_dtype = DType::bf16;
    return {PackedWeight::pack(m, panel_dtype), w.dim(2), groups, n};
}

namespace kernels {

namespace {

struct Span {
    int64_t begin, rows;
};

Span span_of(std::span<const int64_t> borders, size_t i) {
    return {borders[i], borders[i + 1] - borders[i]};
}

/// Some channels of a sequence, with `padding` rows of zeros before and after it. x: their first one in row 0, rows
/// `stride` apart.
void pad(const float* x, int64_t stride, Span s, int64_t channels, int64_t padding, float* out) {
    std::fill(out, out + padding * channels, 0.0f);
    out += padding * channels;
    if (stride == channels)
        std::memcpy(out, x + s.begin * channels, static_cast<size_t>(s.rows * channels) * sizeof(float));
    else
        for (int64_t t = 0; t < s.rows; ++t)
            std::memcpy(out + t * channels, x + (s.begin + t) * stride, static_cast<size_t>(channels) * sizeof(float));
    out += s.rows * channels;
    std::fill(out, out + padding * channels, 0.0f);
}

int64_t longest(std::span<const int64_t> borders) {
    int64_t rows = 0;
    for (size_t i = 0; i + 1 < borders.size(); ++i) rows = std::max(rows, borders[i + 1] - borders[i]);
    return rows;
}

/// w: [n, k] tap-major, k = taps * C_in / groups.
void check(const Tensor& x, int64_t n, int64_t k, int64_t taps, const Tensor& bias, ConvGeometry g) {
    expect("conv1d", "x", x, DType::f32, x.device());
    if (g.groups < 1 || n % g.groups != 0)
        throw ShapeError("conv1d: {} groups do not divide the {} output channels", g.groups, n);
    if (x.rank() != 2 || x.dim(1) * taps != k * g.groups)
        throw ShapeError("conv1d: weight takes {} channels{}, but x is {} (expected [T, C_in])", k / taps * g.groups,
                         g.groups > 1 ? fmt::format(" in {} groups", g.groups) : "", x.describe());
    if (bias.defined()) expect("conv1d", "bias", bias, {n}, DType::f32, x.device());
}

void check(const Tensor& x, const PackedConv& w, const Tensor& bias, ConvGeometry g) {
    if (w.groups != g.groups)
        throw ShapeError("conv1d: weight {} was packed in {} groups, but the convolution has {}", w.weight.describe(),
                         w.groups, g.groups);
    check(x, w.out_channels, w.weight.in_features(), w.taps, bias, g);
}

/// The panels of a weight's groups.
struct GroupPanels {
    Panels first;  ///< of group 0
    size_t apart;  ///< bytes from one to the next

    Panels of(int64_t group) const {
        Panels p = first;
        p.data = static_cast<const char*>(first.data) + static_cast<size_t>(group) * apart;
        return p;
    }
};

GroupPanels panels_of(const PackedConv& w) {
    Panels first = w.weight.panels();
    first.n = w.out_channels / w.groups;
    const int64_t elements = panel_elements(first.k, conv1d_group_step(first.n), first.dtype);
    return {first, bytes_for(first.dtype, static_cast<size_t>(elements))};
}

Tensor run(const Tensor& x, const Tensor& borders, const GroupPanels& w, int64_t taps, const Tensor& bias,
           ConvGeometry g) {
    const auto in = borders_of("conv1d", borders, x.dim(0));
    const Tensor out_borders = conv1d_borders(borders, taps, g);
    const auto out = borders_of("conv1d", out_borders, out_borders.data<int64_t>()[in.size() - 1]);
    const int64_t channels = x.dim(1) / g.groups, each = w.first.n, n = each * g.groups;
    Tensor y = Tensor::empty({out.back(), n});
    Tensor padded = workspace({longest(in) + 2 * g.padding, channels});
    float *pp = padded.mutable_data<float>(), *py = y.mutable_data<float>();
    for (size_t i = 0; i + 1 < in.size(); ++i) {
        const Span s = span_of(out, i);
        for (int64_t group = 0; group < g.groups; ++group) {
            pad(x.data<float>() + group * channels, x.dim(1), span_of(in, i), channels, g.padding, pp);
            gemm(s.rows, pp, g.stride * channels, w.of(group), py + s.begin * n + group * each, n,
                 {.bias = bias.defined() ? bias.data<float>() + group * each : nullptr});
        }
    }
    return y;
}

/// Sums windows back into channels of dx, whose rows are `stride` apart:
/// dx[t] = sum over taps of dcolumns[(t + padding - tap) / stride][tap], taps in order.
void fold(const float* pc, std::span<const int64_t> in, std::span<const int64_t> out, int64_t taps, int64_t channels,
          ConvGeometry g, float* pdx, int64_t stride) {
    for (size_t i = 0; i + 1 < in.size(); ++i) {
        const Span s = span_of(in, i);
        const int64_t frames = out[i + 1] - out[i];
        parallel_for(s.rows, row_chunk(channels), [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; ++t)
                for (int64_t tap = 0; tap < taps; ++tap) {
                    const int64_t at = t + g.padding - tap;
                    if (at < 0 || at % g.stride != 0 || at / g.stride >= frames) continue;
                    const float* window = pc + ((out[i] + at / g.stride) * taps + tap) * channels;
                    float* row = pdx + (s.begin + t) * stride;
                    for (int64_t c = 0; c < channels; ++c) row[c] += window[c];
                }
        });
    }
}

/// dx of a weight of out_channels x [taps * channels] in groups. columns_of(group, columns): dy w of that group.
template <class F>
Tensor backward_x(const Tensor& dy, const Tensor& borders, int64_t out_channels, int64_t taps, int64_t channels,
                  ConvGeometry g, F&& columns_of) {
    expect("conv1d backward", "dy", dy, DType::f32);
    const std::span<const int64_t> in(borders.data<int64_t>(), static_cast<size_t>(borders.numel()));
    const Tensor out_borders = conv1d_borders(borders, taps, g);
    const auto out = borders_of("conv1d backward", out_borders, dy.dim(0));
    expect("conv1d backward", "dy", dy, {out.back(), out_channels});
    Tensor dx = Tensor::zeros({in.back(), channels * g.groups});
    Tensor columns = workspace({dy.dim(0), taps * channels});
    for (int64_t group = 0; group < g.groups; ++group) {
        columns_of(group, columns.mutable_data<float>());
        fold(columns.data<float>(), in, out, taps, channels, g, dx.mutable_data<float>() + group * channels, dx.dim(1));
    }
    return dx;
}

/// The lines of a tap-major matrix on a device.
detail::ConvLines lines_of(const Tensor& matrix, int64_t taps, ConvGeometry g) {
    return {along(matrix.device_data<float>(), matrix.dim(1)), matrix.dim(0), taps, matrix.dim(0) / g.groups};
}

detail::ConvLines lines_of(const PackedConv& w) {
    return {w.weight.lines(), w.out_channels, w.taps, conv1d_group_step(w.out_channels / w.groups)};
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
    if (f64::runs(x)) return f64::conv1d(x, borders, w, bias, geometry);
    expect("conv1d", "weight", w, DType::f32, x.device());
    const Tensor matrix = tap_major(w);
    const int64_t n = matrix.dim(0), k = matrix.dim(1), each = n / std::max<int64_t>(1, geometry.groups);
    check(x, n, k, w.dim(2), bias, geometry);
    borders_of("conv1d", borders, x.dim(0));
    if (x.device() != Device::cpu)
        return detail::conv1d_on_device(x, borders, lines_of(matrix, w.dim(2), geometry), bias, geometry);
    const int64_t apart = panel_elements(k, each);
    Tensor panels = workspace({geometry.groups, apart});
    for (int64_t group = 0; group < geometry.groups; ++group)
        pack_rows(matrix.data<float>() + group * each * k, k, k, each, panels.mutable_data<float>() + group * apart);
    const GroupPanels packed{{panels.raw(), DType::f32, k, each}, static_cast<size_t>(apart) * sizeof(float)};
    return run(x, borders, packed, w.dim(2), bias, geometry);
}

Tensor conv1d(const Tensor& x, const Tensor& borders, const PackedConv& w, const Tensor& bias, ConvGeometry geometry) {
    if (w.weight.dtype() == DType::f64) return f64::conv1d(x, borders, f64::unpacked(w), bias, geometry);
    if (w.weight.device() != x.device())
        throw Error("conv1d: weight {} is on {}, but x is {}; pack the weight for that device", w.weight.describe(),
                    name(w.weight.device()), x.describe());
    check(x, w, bias, geometry);
    borders_of("conv1d", borders, x.dim(0));
    if (x.device() != Device::cpu) return detail::conv1d_on_device(x, borders, lines_of(w), bias, geometry);
    return run(x, borders, panels_of(w), w.taps, bias, geometry);
}

Tensor conv1d_backward_x(const Tensor& dy, const Tensor& borders, const Tensor& w, ConvGeometry geometry) {
    if (f64::runs(dy)) return f64::conv1d_backward_x(dy, borders, w, geometry);
    expect("conv1d backward", "weight", w, DType::f32, dy.device());
    const Tensor matrix = tap_major(w);
    const int64_t n = matrix.dim(0), k = matrix.dim(1), each = n / geometry.groups, channels = w.dim(1);
    if (dy.device() != Device::cpu)
        return detail::conv1d_backward_x_on_device(dy, borders, lines_of(matrix, w.dim(2), geometry),
                                                   channels * geometry.groups, geometry);
    Tensor panels = workspace({panel_elements(each, k)});
    return backward_x(dy, borders, n, w.dim(2), channels, geometry, [&](int64_t group, float* columns) {
        const float* rows = matrix.data<float>() + group * each * k;
        gemm(dy.dim(0), dy.data<float>() + group * each, n,
             pack_columns(rows, k, each, k, panels.mutable_data<float>()), columns, k);
    });
}

Tensor conv1d_backward_x(const Tensor& dy, const Tensor& borders, const PackedConv& w, ConvGeometry geometry) {
    if (w.weight.dtype() == DType::f64) return f64::conv1d_backward_x(dy, borders, f64::unpacked(w), geometry);
    if (w.weight.device() != dy.device())
        throw Error("conv1d backward: weight {} is on {}, but dy is {}", w.weight.describe(), name(w.weight.device()),
                    dy.describe());
    const int64_t channels = w.weight.in_features() / w.taps;
    if (dy.device() != Device::cpu)
        return detail::conv1d_backward_x_on_device(dy, borders, lines_of(w), channels * w.groups, geometry);
    const GroupPanels panels = panels_of(w);
    return backward_x(dy, borders, w.out_channels, w.taps, channels, geometry, [&](int64_t group, float* columns) {
        gemm_transposed(dy.dim(0), dy.data<float>() + group * panels.first.n, w.out_channels, panels.of(group), columns,
                        panels.first.k);
    });
}

void conv1d_backward_w(const Tensor& dy, const Tensor& x, const Tensor& borders, ConvGeometry g, Tensor& dw) {
    if (f64::runs(x)) return f64::conv1d_backward_w(dy, x, borders, g, dw);
    expect_weight(dw);
    const Device device = x.device();
    expect("conv1d backward", "x", x, DType::f32, device);
    expect("conv1d backward", "dy", dy, DType::f32, device);
    expect("conv1d backward", "dw", dw, DType::f32, device);
    const int64_t n = dw.dim(0), channels = dw.dim(1), taps = dw.dim(2), k = taps * channels, each = n / g.groups;
    const auto in = borders_of("conv1d backward", borders, x.dim(0));
    const Tensor out_borders = conv1d_borders(borders, taps, g);
    const auto out = borders_of("conv1d backward", out_borders, dy.dim(0));
    Tensor sum = tap_major(dw);
    if (device != Device::cpu) {
        detail::conv1d_backward_w_on_device(dy, x, borders, taps, g, sum);
        return on(conv1d_swap_body, device)(sum.device_data<float>(), n, taps, channels,
                                            dw.mutable_device_data<float>());
    }
    const int64_t rows = longest(out);
    Tensor padded = workspace({longest(in) + 2 * g.padding, channels});
    Tensor left = workspace({n, rows}), panels = workspace({panel_elements(rows, k)});
    for (size_t i = 0; i + 1 < in.size(); ++i) {
        const Span s = span_of(out, i);
        if (s.rows == 0) continue;
        transpose(dy.data<float>() + s.begin * n, s.rows, n, left.mutable_data<float>());
        for (int64_t group = 0; group < g.groups; ++group) {
            pad(x.data<float>() + group * channels, x.dim(1), span_of(in, i), channels, g.padding,
                padded.mutable_data<float>());
            const Panels windows =
                pack_columns(padded.data<float>(), g.stride * channels, s.rows, k, panels.mutable_data<float>());
            gemm(each, left.data<float>() + group * each * s.rows, s.rows, windows,
                 sum.mutable_data<float>() + group * each * k, k, {.accumulate = true});
        }
    }
    swap_last_two(sum.data<float>(), n, taps, channels, dw.mutable_data<float>());
}

}  // namespace kernels

}  // namespace wavllm
