#include <algorithm>
#include <cmath>

#include "kernels/log_mel/log_mel.h"

namespace wavllm::kernels {

namespace {

// Slaney's mel scale (Auditory Toolbox, 1998): 3 mel per 200 Hz up to 1 kHz, then 27 mel per factor 6.4.
constexpr double kHertzPerMel = 200.0 / 3, kBreakHertz = 1000, kBreakMel = kBreakHertz / kHertzPerMel;

double log_step() {
    return std::log(6.4) / 27;
}

double to_mel(double hertz) {
    return hertz < kBreakHertz ? hertz / kHertzPerMel : kBreakMel + std::log(hertz / kBreakHertz) / log_step();
}

double to_hertz(double mel) {
    return mel < kBreakMel ? mel * kHertzPerMel : kBreakHertz * std::exp((mel - kBreakMel) * log_step());
}

}  // namespace

Tensor make_mel_filters(int64_t mels, DType dtype) {
    if (mels < 1) throw ShapeError("mel filters: {} of them; Whisper has 80 or 128", mels);
    constexpr double kTop = 8000;  // half the sample rate
    const auto edge = [&](int64_t i) {
        return to_hertz(to_mel(kTop) * static_cast<double>(i) / static_cast<double>(mels + 1));
    };
    Tensor filters = Tensor::zeros({mels, kMelBins}, DType::f64);
    double* p = filters.mutable_data<double>();
    for (int64_t m = 0; m < mels; ++m) {
        const double left = edge(m), centre = edge(m + 1), right = edge(m + 2), height = 2 / (right - left);
        for (int64_t f = 0; f < kMelBins; ++f) {
            const double hertz = kTop * static_cast<double>(f) / static_cast<double>(kMelBins - 1);
            const double rise = (hertz - left) / (centre - left), fall = (right - hertz) / (right - centre);
            p[m * kMelBins + f] = height * std::max(0.0, std::min(rise, fall));
        }
    }
    return dtype == DType::f64 ? filters : filters.to(dtype);
}

}  // namespace wavllm::kernels
