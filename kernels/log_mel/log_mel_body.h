#pragma once
// The CUDA body of log_mel (log_mel.cu). All pointers are of the device.

#include <cstdint>

#include "kernels/simt/body.h"

namespace wavllm::kernels {

inline constexpr int kMelTableFrequencies = 104;  ///< 0 .. 100, the columns of the tables
inline constexpr int64_t kMelFramesTogether = 4;  ///< frames of a block

struct LogMel {
    const float* samples;
    int64_t n, length, frames, silent;     ///< samples; with zeros up to; frames from `silent` on see only zeros
    const double *window, *cosine, *sine;  ///< [400]; [201][104] each: cos and sin of 2 pi f n / 400 at [n][f]
    const float* filters;                  ///< [mels, 201]
    int64_t mels;
    float* loudest;  ///< workspace: one float for each kMelFramesTogether frames, and one more
    float* y;        ///< [frames, mels]
};
inline CudaBody<void(const LogMel&)> log_mel_body{"log_mel"};

}  // namespace wavllm::kernels
