#pragma once
// The device's side of conv1d() and its gradients, which have checked their arguments.

#include "kernels/conv1d/conv1d.h"
#include "kernels/gemm/gemm_body.h"

namespace wavllm::kernels {

/// Rows of a group of `each` output channels in a packed weight.
constexpr int64_t conv1d_group_step(int64_t each) {
    return (each + kPanel - 1) / kPanel * kPanel;
}

namespace detail {

/// A weight on a device: lines of taps * C_in / groups elements, those of group g from line g * step on.
struct ConvLines {
    Lines lines;
    int64_t out_channels, taps, step;
};

Tensor conv1d_on_device(const Tensor& x, const Tensor& borders, const ConvLines& w, const Tensor& bias, ConvGeometry g);
Tensor conv1d_backward_x_on_device(const Tensor& dy, const Tensor& borders, const ConvLines& w, int64_t in_channels,
                                   ConvGeometry g);
/// sum: dw tap-major, [C_out, taps * C_in / groups], continued.
void conv1d_backward_w_on_device(const Tensor& dy, const Tensor& x, const Tensor& borders, int64_t taps, ConvGeometry g,
                                 Tensor& sum);

}  // namespace detail

}  // namespace wavllm::kernels
