#include "models/wavlm/waveform.h"

#include <cmath>

namespace wavllm {

void normalize_waveform(std::span<float> clip) {
    const auto n = static_cast<double>(clip.size());
    double sum = 0, squares = 0;
    for (const float x : clip) sum += x;
    const double mean = sum / n;
    for (const float x : clip) squares += (x - mean) * (x - mean);
    const double scale = 1 / std::sqrt(squares / n + 1e-7);
    for (float& x : clip) x = static_cast<float>((x - mean) * scale);
}

}  // namespace wavllm
