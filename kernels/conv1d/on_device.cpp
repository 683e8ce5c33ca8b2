#include "kernels/conv1d/on_device.h"

#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/conv1d/conv1d_body.h"
#include "kernels/gemm/gemm_device.h"

namespace wavllm::kernels::detail {

namespace {

/// The plan of a convolution on a device; channels: of a group.
struct DevicePlan {
    ConvShape shape;
    int64_t frames;
    Tensor windows;

    DevicePlan(const Tensor& borders, int64_t taps, int64_t channels, ConvGeometry g, Device device) {
        frames = conv1d_borders(borders, taps, g).data<int64_t>()[borders.numel() - 1];
        shape = {.borders = borders.mirror(device).device_data<int64_t>(),
                 .sequences = borders.numel() - 1,
                 .stride = g.stride,
                 .padding = g.padding,
                 .taps = taps,
                 .drop_last = g.drop_last,
                 .channels = channels};
    }
    /// A left factor whose rows are windows of the first group of x [groups, T, channels].
    Lines windows_of(const Tensor& x) {
        windows = workspace({frames, static_cast<int64_t>(sizeof(Window) / sizeof(float))}, x.device());
        auto* w = static_cast<Window*>(windows.mutable_device_raw());
        on(conv1d_windows_body, x.device())(shape, frames, w);
        Lines lines = along(x.device_data<float>(), shape.channels);
        lines.batch_stride = x.numel() / std::max<int64_t>(1, x.dim(0));
        lines.windows = w;
        return lines;
    }
};

/// x [T, C] as [groups, T, C / groups], in workspace if that is a copy.
Tensor in_groups(const Tensor& x, int64_t groups) {
    if (groups == 1) return x.reshape({1, x.dim(0), x.dim(1)});
    PurposeScope scope(Purpose::workspace);
    return x.reshape({x.dim(0), groups, x.dim(1) / groups}).transpose(0, 1).to_contiguous();
}

/// The part of lines that begins at an element; of f32 or bf16.
Lines from(Lines lines, int64_t element) {
    lines.data = static_cast<const char*>(lines.data) + element * (lines.dtype == DType::f32 ? 4 : 2);
    return lines;
}

}  // namespace

Tensor conv1d_on_device(const Tensor& x, const Tensor& borders, const ConvLines& w, const Tensor& bias,
                        ConvGeometry g) {
    const Device device = x.device();
    const int64_t channels = x.dim(1) / g.groups, k = w.taps * channels, n = w.out_channels, each = n / g.groups;
    const DType products = w.lines.dtype == DType::f32 ? DType::f32 : DType::bf16;
    DevicePlan plan(borders, w.taps, channels, g, device);
    Tensor y = Tensor::empty({plan.frames, n}, DType::f32, device), memory;
    const Tensor grouped = in_groups(x, g.groups);
    Lines left = plan.windows_of(grouped);
    // Windows of x in bf16 begin on 16 bytes, too, where channels come in eights; else each window is written out.
    const bool write_out = products == DType::bf16 && channels % 8 != 0;
    if (products == DType::bf16 && !write_out) {
        const Window* windows = left.windows;
        left.windows = nullptr;
        left = rounded(device, left, g.groups * x.dim(0), channels, memory);
        left.windows = windows;
        left.batch_stride = x.dim(0) * left.stride;
    }
    Product p{.m = plan.frames,
              .n = each,
              .k = k,
              .batch = g.groups,
              .a = left,
              .b = w.lines,
              .c = y.mutable_device_data<float>(),
              .c_stride = n,
              .c_batch_stride = each,
              .bias = bias.defined() && g.groups == 1 ? bias.device_data<float>() : nullptr};
    p.b.batch_stride = w.step * w.lines.stride;
    if (write_out) {
        p.batch = 1;
        for (int64_t i = 0; i < g.groups; ++i, p.c += each) {
            p.a = rounded(device, from(left, i * left.batch_stride), plan.frames, k, memory);
            p.b = from(w.lines, i * w.step * w.lines.stride);
            device_gemm(device, p, products);
        }
    } else {
        device_gemm(device, p, products);
    }
    if (bias.defined() && g.groups > 1)
        on(conv1d_bias_body, device)(bias.device_data<float>(), y.mutable_device_data<float>(), plan.frames, n);
    return y;
}

Tensor conv1d_backward_x_on_device(const Tensor& dy, const Tensor& borders, const ConvLines& w, int64_t in_channels,
                                   ConvGeometry g) {
    const Device device = dy.device();
    const int64_t channels = in_channels / g.groups, k = w.taps * channels, n = w.out_channels, each = n / g.groups;
    const int64_t rows = borders.data<int64_t>()[borders.numel() - 1];
    const DevicePlan plan(borders, w.taps, channels, g, device);
    Tensor result = Tensor::empty({g.groups, rows, channels}, DType::f32, device);
    Tensor columns = workspace({plan.frames, k}, device);  // of one group: with 128 taps they are large
    for (int64_t i = 0; i < g.groups; ++i) {
        Lines weight = from(w.lines, i * w.step * w.lines.stride);
        weight.across = true;
        device_gemm(device,
                    {.m = plan.frames,
                     .n = k,
                     .k = each,
                     .a = along(dy.device_data<float>() + i * each, n),
                     .b = weight,
                     .c = columns.mutable_device_data<float>(),
                     .c_stride = k},
                    w.lines.dtype == DType::f32 ? DType::f32 : DType::bf16);
        on(conv1d_fold_body, device)(plan.shape, columns.device_data<float>(), rows,
                                     result.mutable_device_data<float>() + i * rows * channels);
    }
    if (g.groups == 1) return result.reshape({rows, channels});
    return result.transpose(0, 1).to_contiguous().reshape({rows, in_channels});
}

void conv1d_backward_w_on_device(const Tensor& dy, const Tensor& x, const Tensor& borders, int64_t taps, ConvGeometry g,
                                 Tensor& sum) {
    const Device device = x.device();
    const int64_t channels = x.dim(1) / g.groups, k = taps * channels, n = dy.dim(1), each = n / g.groups;
    DevicePlan plan(borders, taps, channels, g, device);
    const Tensor grouped = in_groups(x, g.groups);
    Lines windows = plan.windows_of(grouped), left = across(dy.device_data<float>(), n);
    windows.across = true;
    left.batch_stride = each;
    device_gemm(device, {.m = each,
                         .n = k,
                         .k = plan.frames,
                         .batch = g.groups,
                         .a = left,
                         .b = windows,
                         .c = sum.mutable_device_data<float>(),
                         .c_stride = k,
                         .c_batch_stride = each * k,
                         .accumulate = true});
}

}  // namespace wavllm::kernels::detail
