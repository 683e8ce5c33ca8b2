#pragma once
#include <algorithm>

#include "kernels/linear/packed_weight.h"

namespace wavllm {

/// A frozen convolution weight [C_out, C_in / groups, taps], packed once as the matrix [C_out, taps * C_in / groups]
/// (tap-major). With several groups each one's rows are followed by zeros up to a multiple of 32, whole panels.
/// A weight in f64 stays as it is: [C_out, C_in / groups * taps].
struct PackedConv {
    PackedWeight weight;
    int64_t taps = 0, groups = 1, out_channels = 0;
    /// panel_dtype: f32, bf16, or a quantised format, which here is bf16: a convolution's rows are seldom whole blocks, and
    /// there are few of them. Throws ShapeError if w is not of rank 3 or if groups does not divide C_out.
    static PackedConv pack(const Tensor& w, DType panel_dtype = DType::f32, int64_t groups = 1);
};

/// stride and zero padding on both sides, in frames.
struct ConvGeometry {
    int64_t stride = 1, padding = 0;
    int64_t groups = 1;     ///< output channels of group i see only the input channels of group i
    int64_t drop_last = 0;  ///< frames left out at the end: 1 for wav2vec 2.0's and WavLM's positional convolution,
                            ///< whose even kernel gives one frame too many (k 128, padding 64)
    int64_t frames(int64_t t, int64_t taps) const {
        const int64_t span = t + 2 * padding - taps;
        return span < 0 ? 0 : std::max<int64_t>(0, span / stride + 1 - drop_last);
    }
};

namespace kernels {

/// Row borders of the result of a convolution of sequences with these borders.
Tensor conv1d_borders(const Tensor& borders, int64_t taps, ConvGeometry geometry);

/// y[t, o] = bias[o] + sum over tap, c of x[t * stride + tap - padding, c] * w[o, c, tap], zeros outside a sequence
/// x: [T, C_in] f32, sequences end to end with the given borders; w: [C_out, C_in, taps]; bias: [C_out] or undefined;
/// y: [T', C_out] with borders conv1d_borders(). Channels last: a window of x is then contiguous, and the convolution
/// is a matrix product whose left rows overlap, without an im2col copy. The sum runs tap by tap, channel by channel.
/// In groups: w is [C_out, C_in / groups, taps], and c runs over the channels of o's group, which are first copied
/// together. Throws ShapeError for shapes and groups that do not fit.
Tensor conv1d(const Tensor& x, const Tensor& borders, const Tensor& w, const Tensor& bias, ConvGeometry geometry);
Tensor conv1d(const Tensor& x, const Tensor& borders, const PackedConv& w, const Tensor& bias, ConvGeometry geometry);

Tensor conv1d_backward_x(const Tensor& dy, const Tensor& borders, const Tensor& w, ConvGeometry geometry);
Tensor conv1d_backward_x(const Tensor& dy, const Tensor& borders, const PackedConv& w, ConvGeometry geometry);
/// dw [C_out, C_in, taps] += ...; sequences in order, frames in order.
void conv1d_backward_w(const Tensor& dy, const Tensor& x, const Tensor& borders, ConvGeometry geometry, Tensor& dw);

}  // namespace kernels

}  // namespace wavllm
