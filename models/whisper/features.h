#pragma once
// From samples to what Whisper's encoder takes: log-mel chunks of at most 30 s.

#include <span>

#include "tensor/tensor.h"

namespace wavllm {

enum class WhisperPadding {
    whole,  ///< "30s": every chunk is filled up with zeros to 30 s, as Whisper was trained
    tight,  ///< "tight": a chunk gets 1 s of zeros, up to 30 s; much cheaper for short clips, and not what Whisper
            ///< knows
};
/// Throws UsageError unless the name is "30s" or "tight".
WhisperPadding whisper_padding(std::string_view name);

/// Chunks of all clips of a batch, end to end.
struct WhisperFeatures {
    Tensor mel;           ///< [frames, mels] f32
    Tensor borders;       ///< i64 [chunks + 1], in mel frames
    Tensor clip_borders;  ///< i64 [clips + 1], in chunks: clip i has chunks [clip_borders[i], clip_borders[i + 1])
    /// i64 [chunks]: how many of a chunk's encoder frames are kept. "30s": those of the clip's longest chunk for all of
    /// its chunks, so with several chunks the last one's padding frames stay, as in the released WavLLM. "tight": each
    /// chunk's own.
    Tensor kept;
};

/// Encoder frames of n samples: (ceil(n / 160) - 1) / 2 + 1, 20 ms each.
int64_t whisper_frames_kept(int64_t samples);

/// Non-overlapping chunks of 30 s of each clip (16 kHz), the last one as long as it is, through kernels::log_mel; the
/// loudness floor is each chunk's own. mel_filters: [mels, 201]. Throws UsageError naming a clip without samples.
WhisperFeatures whisper_features(std::span<const std::span<const float>> clips, const Tensor& mel_filters,
                                 WhisperPadding padding);

/// The kept rows of the encoder's result, chunks end to end.
struct KeptFrames {
    Tensor rows;     ///< [T, dim]
    Tensor borders;  ///< i64 [chunks + 1]
};
/// encoded: [T', dim] with frame_borders i64 [chunks + 1] (WhisperEncoder::frame_borders). Without anything to cut it
/// is a view.
KeptFrames keep_frames(const Tensor& encoded, const Tensor& frame_borders, const Tensor& kept);

}  // namespace wavllm
