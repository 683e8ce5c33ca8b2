#include "kernels/log_mel/log_mel.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/common/simd.h"
#include "kernels/log_mel/log_mel_body.h"
#include "kernels/log_mel/log_mel_f64.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

namespace {

// The transform is a product with fixed matrices, for 16 frames at a time, one frame a lane. Symmetries cut 400 x 201
// complex products to 100 x 101 times four real ones. With w = 2 pi / 400, the window real:
//   fold n with 400 - n:   Re X[f] = sum of e[n] cos(w f n),   -Im X[f] = sum of o[n] sin(w f n),   n = 0 .. 200,
//                          e[n] = x[n] + x[400-n], o[n] = x[n] - x[400-n]; e[0] = x[0], e[200] = x[200], o = 0 there
//   f and 200 - f:         cos(w (200-f) n) = (-1)^n cos(w f n), sin(w (200-f) n) = -(-1)^n sin(w f n):
//                          the sums over even and over odd n give both.
constexpr int64_t kHalf = kMelFft / 2, kQuarter = kMelFft / 4;  // 200, 100
constexpr int64_t kWidth = 8, kVectors = 2, kFrames = kWidth * kVectors;
constexpr int64_t kTile = 6;                                          // frequencies done together: 6 x 2 accumulators
constexpr int64_t kFrequencies = (kQuarter + kTile) / kTile * kTile;  // 0 .. 100, and one to spare
using vd [[gnu::vector_size(kWidth * 8)]] = double;
static_assert(kMelBins == kHalf + 1);

WAVLLM_INLINE vd fma(vd a, vd b, vd c) {
    vd r;
    for (int i = 0; i < kWidth; ++i) r[i] = __builtin_fma(a[i], b[i], c[i]);
    return r;
}

/// One value of each of kFrames frames.
struct Lanes {
    vd v[kVectors];

    double& operator[](int64_t lane) {
        return reinterpret_cast<double*>(v)[lane];
    }
};

struct Constants {
    double window[kMelFft];
    // [f][n / 2]: even n = 0, 2, .., 200, odd n = 1, 3, .., 199
    double cos_even[kFrequencies][kQuarter + 1], cos_odd[kFrequencies][kQuarter];
    double sin_even[kFrequencies][kQuarter + 1], sin_odd[kFrequencies][kQuarter];

    Constants() {
        constexpr double w = 2 * std::numbers::pi / kMelFft;
        for (int64_t n = 0; n < kMelFft; ++n) window[n] = 0.5 - 0.5 * std::cos(w * static_cast<double>(n));
        for (int64_t f = 0; f < kFrequencies; ++f)
            for (int64_t n = 0; n <= kHalf; ++n) {
                const double angle = w * static_cast<double>(f * n % kMelFft);
                // rows through pointers: GCC 12 with -fsanitize=undefined faults on a choice between arrays of two sizes
                double* cos_row = n % 2 ? cos_odd[f] : cos_even[f];
                double* sin_row = n % 2 ? sin_odd[f] : sin_even[f];
                cos_row[n / 2] = std::cos(angle);
                sin_row[n / 2] = std::sin(angle);
            }
    }
};

const Constants& constants() {
    static const Constants c;
    return c;
}

/// The signal as the windows see it: samples, zeros up to `length`, mirrored at both ends.
struct Signal {
    const float* p;
    int64_t samples, length;

    double operator[](int64_t i) const {
        i = i < 0 ? -i : i;
        i = i >= length ? 2 * (length - 1) - i : i;
        return i < samples ? static_cast<double>(p[i]) : 0.0;
    }
};

/// kFrames windows of the signal, folded.
struct Folded {
    Lanes even_cos[kQuarter + 1], odd_cos[kQuarter];  // e[n] of even and of odd n
    Lanes even_sin[kQuarter + 1], odd_sin[kQuarter];  // o[n]

    void load(const Signal& x, int64_t first_frame) {
        const Constants& c = constants();
        double window[kMelFft];
        for (int64_t lane = 0; lane < kFrames; ++lane) {
            const int64_t start = (first_frame + lane) * kMelHop - kHalf;
            const bool inside = start >= 0 && start + kMelFft <= x.samples;
            for (int64_t n = 0; n < kMelFft; ++n)
                window[n] = c.window[n] * (inside ? static_cast<double>(x.p[start + n]) : x[start + n]);
            for (int64_t n = 0; n <= kHalf; ++n) {
                const bool single = n == 0 || n == kHalf;
                const double a = window[n], b = single ? 0.0 : window[kMelFft - n];
                Lanes* cos_row = n % 2 ? odd_cos : even_cos;  // pointers: as in Constants
                Lanes* sin_row = n % 2 ? odd_sin : even_sin;
                cos_row[n / 2][lane] = a + b;
                sin_row[n / 2][lane] = single ? 0.0 : a - b;
            }
        }
    }
};

/// sums[f] = sum over n of matrix[f][n] x[n] for kTile frequencies from `first`.
template <size_t n>
WAVLLM_INLINE void tile_product(const double (&matrix)[kFrequencies][n], const Lanes (&x)[n], int64_t first,
                                Lanes (&sums)[kTile]) {
    vd s[kTile][kVectors] = {};
    for (size_t i = 0; i < n; ++i)
#pragma GCC unroll 8
        for (int64_t f = 0; f < kTile; ++f) {
            const vd c = matrix[first + f][i] - vd{};  // folds into the load; 0 + x does not
#pragma GCC unroll 4
            for (int64_t v = 0; v < kVectors; ++v) s[f][v] = fma(c, x[i].v[v], s[f][v]);
        }
    std::memcpy(sums, s, sizeof s);
}

/// power[f] = |X[f]|^2 of the folded frames, f = 0 .. 200.
void power_spectrum(const Folded& x, Lanes* power) {
    const Constants& c = constants();
    for (int64_t first = 0; first < kFrequencies; first += kTile) {
        Lanes ce[kTile], co[kTile], se[kTile], so[kTile];
        tile_product(c.cos_even, x.even_cos, first, ce);
        tile_product(c.cos_odd, x.odd_cos, first, co);
        tile_product(c.sin_even, x.even_sin, first, se);
        tile_product(c.sin_odd, x.odd_sin, first, so);
        for (int64_t i = 0; i < kTile && first + i <= kQuarter; ++i)
            for (int64_t v = 0; v < kVectors; ++v) {
                const vd re = ce[i].v[v] + co[i].v[v], im = se[i].v[v] + so[i].v[v];
                const vd mirrored_re = ce[i].v[v] - co[i].v[v], mirrored_im = so[i].v[v] - se[i].v[v];
                power[first + i].v[v] = re * re + im * im;
                power[kHalf - first - i].v[v] = mirrored_re * mirrored_re + mirrored_im * mirrored_im;
            }
    }
}

/// Where a filter is not zero.
struct Band {
    int64_t begin = 0, end = 0;
};

Band band_of(const float* filter) {
    Band band{0, kMelBins};
    while (band.end > 0 && filter[band.end - 1] == 0) --band.end;
    while (band.begin < band.end && filter[band.begin] == 0) ++band.begin;
    return band;
}

constexpr int64_t kMaxMels = 256;
constexpr float kFloor = -10;  // log10 of the smallest power, 1e-10
constexpr float kRange = 8;    // powers of ten below the loudest that are kept

/// The constants as the CUDA body reads them: the window, then cosines and sines with the frequencies side by side.
const Tensor& device_constants() {
    static const Tensor t = [] {
        constexpr int64_t kTable = kMelBins * kMelTableFrequencies;
        Tensor all = Tensor::zeros({kMelFft + 2 * kTable}, DType::f64);
        double* p = all.mutable_data<double>();
        const Constants& c = constants();
        std::copy(c.window, c.window + kMelFft, p);
        for (int64_t n = 0; n <= kHalf; ++n)
            for (int64_t f = 0; f <= kQuarter; ++f) {
                const int64_t at = kMelFft + n * kMelTableFrequencies + f;
                p[at] = n % 2 ? c.cos_odd[f][n / 2] : c.cos_even[f][n / 2];
                p[at + kTable] = n % 2 ? c.sin_odd[f][n / 2] : c.sin_even[f][n / 2];
            }
        return all;
    }();
    return t;
}

}  // namespace

Tensor log_mel(const Tensor& samples, const Tensor& mel_filters, int64_t frames) {
    const Device device = samples.device();
    const DType dtype = f64::runs(samples) ? DType::f64 : DType::f32;
    expect("log_mel", "samples", samples, dtype, device);
    expect("log_mel", "mel_filters", mel_filters, dtype, device);
    const int64_t n = samples.numel(), mels = mel_filters.shape()[0];
    expect("log_mel", "mel_filters", mel_filters, {mels, kMelBins}, dtype, device);
    if (mels > kMaxMels) throw ShapeError("log_mel: {} filters; at most {}", mels, kMaxMels);
    const int64_t length = std::max(n, frames * kMelHop);
    if (frames < 1 || n / kMelHop > frames)
        throw ShapeError("log_mel: {} samples do not fit {} frames of {}; cut the clip into chunks", n, frames,
                         kMelHop);
    if (length <= kHalf)
        throw ShapeError("log_mel: a signal of {} samples cannot be mirrored over {}; ask for at least 2 frames",
                         length, kHalf);
    if (dtype == DType::f64) return f64::log_mel(samples, mel_filters, frames);
    const Signal signal{samples.device_data<float>(), n, length};
    // Frames that see nothing but padding: their power is exactly 0. (The mirrored end may bring samples back.)
    const int64_t silent = n + kHalf < signal.length - kHalf ? (n + kHalf + kMelHop - 1) / kMelHop : frames;
    if (device != Device::cpu) {
        Tensor result = Tensor::empty({frames, mels}, DType::f32, device);
        Tensor loudest = workspace({1 + (frames + kMelFramesTogether - 1) / kMelFramesTogether}, device);
        const double* c = device_constants().mirror(device).device_data<double>();
        on(log_mel_body, device)({.samples = signal.p,
                                  .n = n,
                                  .length = signal.length,
                                  .frames = frames,
                                  .silent = silent,
                                  .window = c,
                                  .cosine = c + kMelFft,
                                  .sine = c + kMelFft + kMelBins * kMelTableFrequencies,
                                  .filters = mel_filters.device_data<float>(),
                                  .mels = mels,
                                  .loudest = loudest.mutable_device_data<float>(),
                                  .y = result.mutable_device_data<float>()});
        return result;
    }
    const float* filters = mel_filters.data<float>();
    Band bands[kMaxMels];
    for (int64_t m = 0; m < mels; ++m) bands[m] = band_of(filters + m * kMelBins);

    Tensor y = Tensor::empty({frames, mels});
    float* py = y.mutable_data<float>();
    parallel_for(frames, kFrames, [&](int64_t begin, int64_t end) {
        if (begin >= silent) return std::fill(py + begin * mels, py + end * mels, kFloor);
        Folded folded;
        Lanes power[kMelBins];
        folded.load(signal, begin);
        power_spectrum(folded, power);
        for (int64_t m = 0; m < mels; ++m) {
            Lanes energy{};
            for (int64_t f = bands[m].begin; f < bands[m].end; ++f)
                for (int64_t v = 0; v < kVectors; ++v)
                    energy.v[v] =
                        fma(vd{} + static_cast<double>(filters[m * kMelBins + f]), power[f].v[v], energy.v[v]);
            for (int64_t lane = 0; lane < end - begin; ++lane)
                py[(begin + lane) * mels + m] = std::log10(std::max(1e-10F, static_cast<float>(energy[lane])));
        }
    });
    float loudest = kFloor;
    for (int64_t i = 0; i < y.numel(); ++i) loudest = std::max(loudest, py[i]);
    for (int64_t i = 0; i < y.numel(); ++i) py[i] = (std::max(py[i], loudest - kRange) + 4) / 4;
    return y;
}

}  // namespace wavllm::kernels
