#pragma once
// Mel-frequency cepstra, the first targets that speech encoders are pre-trained on (Hsu et al. 2021, HuBERT).

#include <span>

#include "tensor/tensor.h"

namespace wavllm {

inline constexpr int64_t kMfccWindow = 400, kMfccHop = 160, kMfccs = 39;

/// [frames, 39] f32: 13 cepstra, their first and their second differences. Frame t is of samples 160 t to 160 t + 400 at
/// 16 kHz, none is made up at the ends: 1 + (N - 400) / 160 frames, 0 below 400 samples.
/// As Kaldi's compute-mfcc-feats without dither and energy: mean removed, pre-emphasis 0.97, Povey's window, 512-point power
/// spectrum, 23 triangles from 20 Hz to 8 kHz on the scale 1127 ln(1 + f / 700), logarithm, orthonormal cosine transform,
/// lifter 22. Samples are in [-1, 1] and not scaled to 16 bits: that moves the first cepstrum by a constant. A difference is
/// sum over n = 1, 2 of n (c[t+n] - c[t-n]) / 10, with the first and last frame repeated. Computed in double.
Tensor mfcc(std::span<const float> samples);

}  // namespace wavllm
