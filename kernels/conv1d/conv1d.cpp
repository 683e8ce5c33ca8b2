#include "kernels/conv1d/conv1d.h"

#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/conv1d/conv1d_body.h"
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

void check(const Tensor& x, int64_t n, int64_t k, int64_t taps, const Tensor& bias) {
    expect("conv1d", "x", x, DType::f32, x.device());
    if (x.rank() != 2 || x.dim(1) * taps != k)
        throw ShapeError("conv1d: weight takes {} channels, but x is {} (expected [T, C_in])", k / taps, x.describe());
    if (bias.defined()) expect("conv1d", "bias", bias, {n}, DType::f32, x.device());
}

Tensor run(const Tensor& x, const Tensor& borders, const Panels& w, int64_t taps, const Tensor& bias, ConvGeometry g) {
    check(x, w.n, w.k, taps, bias);
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

/// The plan of a convolution on a device.
struct DevicePlan {
    ConvShape shape;
    int64_t frames;
    Tensor windows;

    DevicePlan(const Tensor& borders, int64_t rows, int64_t taps, int64_t channels, ConvGeometry g, Device device) {
        borders_of("conv1d", borders, rows);
        frames = conv1d_borders(borders, taps, g).data<int64_t>()[borders.numel() - 1];
        shape = {.borders = borders.mirror(device).device_data<int64_t>(),
                 .sequences = borders.numel() - 1,
                 .stride = g.stride,
                 .padding = g.padding,
                 .taps = taps,
                 .channels = channels};
    }
    /// A left factor whose rows are windows of x [T, channels].
    Lines windows_of(const Tensor& x) {
        windows = workspace({frames, static_cast<int64_t>(sizeof(Window) / sizeof(float))}, x.device());
        auto* w = static_cast<Window*>(windows.mutable_device_raw());
        on(conv1d_windows_body, x.device())(shape, frames, w);
        Lines lines = along(x.device_data<float>(), shape.channels);
        lines.windows = w;
        return lines;
    }
};

/// weight: of the matrix [N, taps * C_in], along.
Tensor run_on_device(const Tensor& x, const Tensor& borders, const Lines& weight, int64_t n, int64_t taps,
                     const Tensor& bias, ConvGeometry g) {
    const Device device = x.device();
    const int64_t channels = x.dim(1), k = taps * channels;
    const DType products = weight.dtype == DType::f32 ? DType::f32 : DType::bf16;
    DevicePlan plan(borders, x.dim(0), taps, channels, g, device);
    Tensor y = Tensor::empty({plan.frames, n}, DType::f32, device), memory;
    Lines left = plan.windows_of(x);
    if (products == DType::bf16 && channels % 8 == 0) {  // windows of x in bf16 begin on 16 bytes, too
        const Window* windows = left.windows;
        left.windows = nullptr;
        left = rounded(device, left, x.dim(0), channels, memory);
        left.windows = windows;
    } else if (products == DType::bf16) {
        left = rounded(device, left, plan.frames, k, memory);
    }
    device_gemm(device,
                {.m = plan.frames,
                 .n = n,
                 .k = k,
                 .a = left,
                 .b = weight,
                 .c = y.mutable_device_data<float>(),
                 .c_stride = n,
                 .bias = bias.defined() ? bias.device_data<float>() : nullptr},
                products);
    return y;
}

/// Sums windows back: dx[t] = sum over taps of dcolumns[(t + padding - tap) / stride][tap], taps in order.
Tensor fold(const Tensor& dcolumns, const Tensor& borders, int64_t taps, int64_t channels, ConvGeometry g) {
    const std::span<const int64_t> in(borders.data<int64_t>(), static_cast<size_t>(borders.numel()));
    const Tensor out_borders = conv1d_borders(borders, taps, g);
    const int64_t* out = out_borders.data<int64_t>();
    if (const Device device = dcolumns.device(); device != Device::cpu) {
        const DevicePlan plan(borders, in.back(), taps, channels, g, device);
        Tensor result = Tensor::empty({in.back(), channels}, DType::f32, device);
        on(conv1d_fold_body, device)(plan.shape, dcolumns.device_data<float>(), in.back(),
                                     result.mutable_device_data<float>());
        return result;
    }
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
    if (x.device() != Device::cpu) {
        expect("conv1d", "weight", w, DType::f32, x.device());
        check(x, matrix.dim(0), matrix.dim(1), w.dim(2), bias);
        return run_on_device(x, borders, along(matrix.device_data<float>(), matrix.dim(1)), matrix.dim(0), w.dim(2),
                             bias, geometry);
    }
    expect("conv1d", "weight", w);
    Tensor panels = workspace({panel_elements(matrix.dim(1), matrix.dim(0))});
    const Panels packed =
        pack_rows(matrix.data<float>(), matrix.dim(1), matrix.dim(1), matrix.dim(0), panels.mutable_data<float>());
    return run(x, borders, packed, w.dim(2), bias, geometry);
}

Tensor conv1d(const Tensor& x, const Tensor& borders, const PackedConv& w, const Tensor& bias, ConvGeometry geometry) {
    if (w.weight.device() != x.device())
        throw Error("conv1d: weight {} is on {}, but x is {}; pack the weight for that device", w.weight.describe(),
                    name(w.weight.device()), x.describe());
    if (x.device() != Device::cpu) {
        check(x, w.weight.out_features(), w.weight.in_features(), w.taps, bias);
        return run_on_device(x, borders, w.weight.lines(), w.weight.out_features(), w.taps, bias, geometry);
    }
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
    const Device device = x.device();
    expect("conv1d backward", "x", x, DType::f32, device);
    expect("conv1d backward", "dy", dy, DType::f32, device);
    expect("conv1d backward", "dw", dw, DType::f32, device);
    const int64_t n = dw.dim(0), channels = dw.dim(1), taps = dw.dim(2), k = taps * channels;
    const auto in = borders_of("conv1d backward", borders, x.dim(0));
    const Tensor out_borders = conv1d_borders(borders, taps, g);
    const auto out = borders_of("conv1d backward", out_borders, dy.dim(0));
    Tensor sum = tap_major(dw);
    if (device != Device::cpu) {
        DevicePlan plan(borders, x.dim(0), taps, channels, g, device);
        Lines windows = plan.windows_of(x);
        windows.across = true;
        device_gemm(device, {.m = n,
                             .n = k,
                             .k = plan.frames,
                             .a = across(dy.device_data<float>(), n),
                             .b = windows,
                             .c = sum.mutable_device_data<float>(),
                             .c_stride = k,
                             .accumulate = true});
        return on(conv1d_swap_body, device)(sum.device_data<float>(), n, taps, channels,
                                            dw.mutable_device_data<float>());
    }
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
