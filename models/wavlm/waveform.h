#pragma once
#include <span>

namespace wavllm {

/// To mean 0 and variance 1, as the larger WavLMs hear a clip (WavlmConfig::normalizes), and wav2vec 2.0's before them.
void normalize_waveform(std::span<float> clip);

}  // namespace wavllm
