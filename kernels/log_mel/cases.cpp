#include <cmath>
#include <complex>

#include "kernels/common/op_case.h"
#include "kernels/log_mel/log_mel.h"

namespace wavllm {

OP_CASES(log_mel) {
    op.has_gradient = false;
    op.forward = [](Inputs in, const Params& p) { return kernels::log_mel(in[0], in[1], p.i("frames")); };
    // the definition: pad, mirror, window, a plain Fourier sum per frequency
    op.reference = [](Inputs64 in, const Params& p) {
        const int64_t frames = p.i("frames"), mels = in[1].shape[0], n = in[0].shape[0];
        std::vector<double> x = in[0].v;
        x.resize(static_cast<size_t>(std::max(n, frames * 160)));
        const auto length = static_cast<int64_t>(x.size());
        Array64 y(Shape{frames, mels});
        double top = -10;
        for (int64_t t = 0; t < frames; ++t) {
            std::vector<double> power;
            for (int64_t f = 0; f <= 200; ++f) {
                std::complex<double> sum = 0;
                for (int64_t i = 0; i < 400; ++i) {
                    int64_t at = t * 160 - 200 + i;
                    if (at < 0) at = -at;
                    if (at >= length) at = 2 * (length - 1) - at;
                    const double turn = static_cast<double>(i) / 400, window = 0.5 - 0.5 * std::cos(2 * M_PI * turn);
                    sum += window * x[static_cast<size_t>(at)] *
                           std::polar(1.0, -2 * M_PI * static_cast<double>(f * i % 400) / 400);
                }
                power.push_back(std::norm(sum));
            }
            for (int64_t m = 0; m < mels; ++m) {
                double energy = 0;
                for (int64_t f = 0; f <= 200; ++f) energy += in[1][m * 201 + f] * power[static_cast<size_t>(f)];
                top = std::max(top, y[t * mels + m] = std::log10(std::max(1e-10, energy)));
            }
        }
        for (double& v : y.v) v = (std::max(v, top - 8) + 4) / 4;
        return y;
    };

    const auto one = [&](const char* name, int64_t samples, int64_t frames, int64_t mels, double loudness = 0.1,
                         bool bench = false) {
        op.add({.name = name,
                .inputs = {random({samples}, loudness), kernels::make_mel_filters(mels)},
                .params = {{"frames", static_cast<double>(frames)}},
                .tolerance = 1e-6,
                .bytes = 4.0 * static_cast<double>(samples + frames * mels),
                .flops = static_cast<double>(frames) * 4 * 101 * 101 * 2,
                .bench = bench});
    };
    one("padded to 20 frames", 1234, 20, 80);
    one("no padding, odd length", 4000 + 37, 25, 80);
    one("exact length", 3200, 20, 128);
    one("samples reach the mirrored end", 3000, 20, 80);
    one("silent frames in the middle of the mirror", 700, 9, 80);
    one("two frames", 201, 2, 80);
    one("silence", 400, 6, 80, 0);
    one("nearly silent", 1600, 10, 80, 1e-6);
    one("no samples", 0, 4, 80);
    one("30 s", 480000, 3000, 80, 0.1, true);
    one("5 s padded to 30 s", 80000, 3000, 80, 0.1, true);
}

}  // namespace wavllm
