#pragma once
// What connectors do to the frames of two encoders before they read them: cut both to the shorter, and cut in windows.

#include "tensor/tensor.h"

namespace wavllm {

/// Frames of sequences, cut in windows of one length that do not overlap.
struct Windows {
    Tensor frames;   ///< i32: the frames that are in a window, in order; undefined if all are
    Tensor borders;  ///< i64 [windows + 1], of those frames
    Tensor owners;   ///< i64 [S + 1]: which windows are whose
};

/// How many windows `frames` frames give. What is left at the end is a window of its own if it is at least half of one, and
/// left out otherwise: 1500 frames are 88 windows of 17 and 4 frames that nobody reads, as in SALMONN. A sequence that has
/// frames has a window, however short (SALMONN pads every clip to 30 s, and does not meet such).
int64_t window_count(int64_t frames, int64_t length);
/// borders: i64 [S + 1] of the frames. Throws ShapeError for a length below 1 or borders that are none.
Windows cut_windows(const Tensor& borders, int64_t length);

/// Two encoders' frames side by side, [a | b]; each sequence is cut to the shorter of the two. a: [T, A], b: [T2, B] with
/// the same number of sequences; `borders` become those of the result [T', A + B]. Differentiable.
Tensor join_frames(const Tensor& a, Tensor& borders, const Tensor& b, const Tensor& b_borders);

}  // namespace wavllm
