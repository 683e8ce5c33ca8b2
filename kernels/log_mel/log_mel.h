#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

inline constexpr int64_t kMelFft = 400;           ///< samples in a window, 25 ms at 16 kHz
inline constexpr int64_t kMelHop = 160;           ///< samples from frame to frame, 10 ms
inline constexpr int64_t kMelBins = 201;          ///< kMelFft / 2 + 1
inline constexpr int64_t kMelChunkFrames = 3000;  ///< 30 s: what Whisper was trained on

/// Triangular mel filters [mels, 201], f32 or f64, for 16 kHz and 400 points, from 0 to 8 kHz, on Slaney's scale (linear below
/// 1 kHz, logarithmic above) and with Slaney's norm (area 1 per Hz). Computed in double. Whisper has 80 of them, or
/// 128. Throws ShapeError for fewer than one.
Tensor make_mel_filters(int64_t mels, DType dtype = DType::f32);

/// Whisper's log-mel spectrogram (Radford et al. 2022, 2.2). With x the samples, followed by zeros up to frames*160:
///     power[t, f] = |sum over n < 400 of hann[n] x[160 t - 200 + n] e^(-2 pi i f n / 400)|^2
///     m[t, :] = log10(max(1e-10, mel_filters power[t, :]))       y = (max(m, max of all m - 8) + 4) / 4
/// hann is periodic; x is mirrored at its first and last sample (neither is doubled).
/// samples: f32 [N] at 16 kHz; mel_filters: f32 [mels, 201]; result: [frames, mels]: time-major, the transpose of what
/// Whisper's code calls mel.
/// A 30 s chunk as Whisper takes it: frames = 3000. Without padding: frames = N / 160; up to 159 samples behind the
/// last hop count as mirrored signal, as in torch.stft. The spectrum is computed in double, and all of it for samples and
/// filters in f64. Throws ShapeError if the
/// samples do not fit the frames, or if there are fewer than 201 samples to mirror.
Tensor log_mel(const Tensor& samples, const Tensor& mel_filters, int64_t frames);

}  // namespace wavllm::kernels
