#include "data/mfcc.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <limits>
#include <numbers>

#include "tensor/thread_pool.h"

namespace wavllm {

namespace {

constexpr int64_t kPoints = 512, kBins = kPoints / 2 + 1, kFilters = 23, kCepstra = 13;
constexpr double kLow = 20, kHigh = 8000, kLifter = 22, kPreEmphasis = 0.97;

using Spectrum = std::array<std::complex<double>, kPoints>;

double mel(double hertz) {
    return 1127 * std::log1p(hertz / 700);
}

struct Tables {
    double window[kMfccWindow], filters[kFilters][kBins], cosine[kCepstra][kFilters];
    std::complex<double> roots[kPoints / 2];

    Tables() {
        constexpr double pi = std::numbers::pi;
        for (int64_t n = 0; n < kMfccWindow; ++n)
            window[n] = std::pow(0.5 - 0.5 * std::cos(2 * pi * static_cast<double>(n) / (kMfccWindow - 1)), 0.85);
        const double step = (mel(kHigh) - mel(kLow)) / (kFilters + 1);
        for (int64_t m = 0; m < kFilters; ++m) {
            const double left = mel(kLow) + static_cast<double>(m) * step;
            for (int64_t f = 0; f < kBins; ++f) {
                const double at = (mel(16000.0 * static_cast<double>(f) / kPoints) - left) / step;
                filters[m][f] = std::max(0.0, std::min(at, 2 - at));
            }
        }
        for (int64_t c = 0; c < kCepstra; ++c) {
            const double lifter = 1 + kLifter / 2 * std::sin(pi * static_cast<double>(c) / kLifter);
            const double scale = std::sqrt((c == 0 ? 1.0 : 2.0) / kFilters) * lifter;
            for (int64_t m = 0; m < kFilters; ++m)
                cosine[c][m] =
                    scale * std::cos(pi * static_cast<double>(c) * (static_cast<double>(m) + 0.5) / kFilters);
        }
        for (int64_t k = 0; k < kPoints / 2; ++k)
            roots[k] = std::polar(1.0, -2 * pi * static_cast<double>(k) / kPoints);
    }
};

const Tables& tables() {
    static const Tables t;
    return t;
}

/// In place, Cooley and Tukey's, decimation in time.
void transform(Spectrum& x) {
    for (size_t i = 1, j = 0; i < kPoints; ++i) {
        size_t bit = kPoints / 2;
        for (; j & bit; bit /= 2) j ^= bit;
        j ^= bit;
        if (i < j) std::swap(x[i], x[j]);
    }
    for (size_t half = 1; half < kPoints; half *= 2)
        for (size_t begin = 0; begin < kPoints; begin += 2 * half)
            for (size_t k = 0; k < half; ++k) {
                const auto odd = tables().roots[k * (kPoints / 2 / half)] * x[begin + k + half];
                x[begin + k + half] = x[begin + k] - odd;
                x[begin + k] += odd;
            }
}

/// The 13 cepstra of one window.
void cepstra(const float* samples, double* to) {
    const Tables& t = tables();
    double x[kMfccWindow], mean = 0;
    for (int64_t n = 0; n < kMfccWindow; ++n) mean += x[n] = samples[n];
    mean /= kMfccWindow;
    for (double& v : x) v -= mean;
    Spectrum spectrum{};
    for (int64_t n = 0; n < kMfccWindow; ++n)
        spectrum[static_cast<size_t>(n)] = t.window[n] * (x[n] - kPreEmphasis * x[n > 0 ? n - 1 : 0]);
    transform(spectrum);
    double log_energies[kFilters];
    for (int64_t m = 0; m < kFilters; ++m) {
        double sum = 0;
        // the last bin, 8 kHz, is where the last triangle ends
        for (int64_t f = 0; f < kBins; ++f) sum += t.filters[m][f] * std::norm(spectrum[static_cast<size_t>(f)]);
        log_energies[m] = std::log(std::max(sum, static_cast<double>(std::numeric_limits<float>::epsilon())));
    }
    for (int64_t c = 0; c < kCepstra; ++c) {
        to[c] = 0;
        for (int64_t m = 0; m < kFilters; ++m) to[c] += t.cosine[c][m] * log_energies[m];
    }
}

}  // namespace

Tensor mfcc(std::span<const float> samples) {
    const auto n = static_cast<int64_t>(samples.size());
    const int64_t frames = n < kMfccWindow ? 0 : 1 + (n - kMfccWindow) / kMfccHop;
    std::vector<double> all(static_cast<size_t>(frames * kMfccs));
    parallel_for(frames, 64, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
            cepstra(samples.data() + t * kMfccHop, all.data() + static_cast<size_t>(t * kMfccs));
    });
    const auto at = [&](int64_t t, int64_t c) -> double& {
        return all[static_cast<size_t>(std::clamp<int64_t>(t, 0, frames - 1) * kMfccs + c)];
    };
    for (const int64_t from : {int64_t{0}, kCepstra})
        for (int64_t t = 0; t < frames; ++t)
            for (int64_t c = from; c < from + kCepstra; ++c)
                at(t, c + kCepstra) = (at(t + 1, c) - at(t - 1, c) + 2 * (at(t + 2, c) - at(t - 2, c))) / 10;
    Tensor result = Tensor::empty({frames, kMfccs});
    float* to = result.mutable_data<float>();
    for (size_t i = 0; i < all.size(); ++i) to[i] = static_cast<float>(all[i]);
    return result;
}

}  // namespace wavllm
