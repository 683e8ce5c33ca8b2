#pragma once
#include "kernels/linear/packed_weight.h"

namespace wavllm {

/// A frozen convolution weight [C_out, C_in, taps], packed once as the matrix [C_out, taps * C_in] (tap-major).
struct PackedConv {
    PackedWeight weight;
    int64_t taps = 0;
    static PackedConv pack(const Tensor& w, DType panel_dtype = DType::f32);
};

/// stride and zero padding on both sides, in frames.
struct ConvGeometry {
    int64_t stride = 1, padding = 0;
    int64_t frames(int64_t t, int64_t taps) const {
        const int64_t span = t + 2 * padding - taps;
        return span < 0 ? 0 : span / stride + 1;
    }
};

namespace kernels {

/// Row borders of the result of a convolution of sequences with these borders.
Tensor conv1d_borders(const Tensor& borders, int64_t taps, ConvGeometry geometry);

/// y[t, o] = bias[o] + sum over tap, c of x[t * stride + tap - padding, c] * w[o, c, tap], zeros outside a sequence
/// x: [T, C_in] f32, sequences end to end with the given borders; w: [C_out, C_in, taps]; bias: [C_out] or undefined;
/// y: [T', C_out] with borders conv1d_borders(). Channels last: a window of x is then contiguous, and the convolution
/// is a matrix product whose left rows overlap, without an im2col copy. The sum runs tap by tap, channel by channel.
Tensor conv1d(const Tensor& x, const Tensor& borders, const Tensor& w, const Tensor& bias, ConvGeometry geometry);
Tensor conv1d(const Tensor& x, const Tensor& borders, const PackedConv& w, const Tensor& bias, ConvGeometry geometry);

Tensor conv1d_backward_x(const Tensor& dy, const Tensor& borders, const Tensor& w, ConvGeometry geometry);
Tensor conv1d_backward_x(const Tensor& dy, const Tensor& borders, const PackedConv& w, ConvGeometry geometry);
/// dw [C_out, C_in, taps] += ...; sequences in order, frames in order.
void conv1d_backward_w(const Tensor& dy, const Tensor& x, const Tensor& borders, ConvGeometry geometry, Tensor& dw);

}  // namespace kernels

}  // namespace wavllm
