#pragma once
// Whisper's log-mel spectrogram in double, by its definition: pad, mirror, window, a plain Fourier sum.

#include <complex>
#include <numbers>
#include <vector>

#include "kernels/common/f64.h"
#include "kernels/log_mel/log_mel.h"

namespace wavllm::kernels::f64 {

/// The Fourier transform, at kMelBins frequencies, of the window that begins at `start`: a sample before the signal, which
/// is mirrored there, or inside it.
inline std::vector<std::complex<double>> spectrum(const std::vector<double>& signal, int64_t start) {
    const auto length = static_cast<int64_t>(signal.size());
    double window[kMelFft], largest = 0;
    for (int64_t n = 0; n < kMelFft; ++n) {
        int64_t at = std::abs(start + n);              // mirrored at the first sample
        if (at >= length) at = 2 * (length - 1) - at;  // and at the last
        const double hann = 0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(n) / kMelFft);
        window[n] = hann * signal[static_cast<size_t>(at)];
        largest = std::max(largest, std::abs(window[n]));
    }
    std::vector<std::complex<double>> result(kMelBins);
    if (largest == 0) return result;
    static const std::vector<std::complex<double>> turns = [] {  // e^(-2 pi i k / 400)
        std::vector<std::complex<double>> t;
        for (int k = 0; k < kMelFft; ++k) t.push_back(std::polar(1.0, -2 * std::numbers::pi * k / kMelFft));
        return t;
    }();
    for (int64_t f = 0; f < kMelBins; ++f) {
        std::complex<double>& sum = result[static_cast<size_t>(f)];
        for (int64_t n = 0; n < kMelFft; ++n) sum += window[n] * turns[static_cast<size_t>(f * n % kMelFft)];
    }
    return result;
}

/// Sizes have been checked.
inline Tensor log_mel(const Tensor& samples, const Tensor& mel_filters, int64_t frames) {
    const In x("log_mel", "samples", samples), filters("log_mel", "mel_filters", mel_filters);
    std::vector<double> signal(x.at(0), x.at(samples.numel()));
    signal.resize(static_cast<size_t>(std::max(samples.numel(), frames * kMelHop)));
    const int64_t mels = filters.rows();
    Tensor y = zeros({frames, mels});
    double* py = y.mutable_data<double>();
    for_rows(frames, kMelFft * kMelBins, [&](int64_t t) {
        std::vector<double> power;
        for (const std::complex<double>& z : spectrum(signal, t * kMelHop - kMelFft / 2)) power.push_back(std::norm(z));
        for (int64_t m = 0; m < mels; ++m) {
            double energy = 0;
            for (int64_t f = 0; f < kMelBins; ++f) energy += filters[m * kMelBins + f] * power[static_cast<size_t>(f)];
            py[t * mels + m] = std::log10(std::max(1e-10, energy));
        }
    });
    const double loudest = *std::max_element(py, py + y.numel());
    for (int64_t i = 0; i < y.numel(); ++i) py[i] = (std::max(py[i], loudest - 8) + 4) / 4;
    return y;
}

}  // namespace wavllm::kernels::f64
