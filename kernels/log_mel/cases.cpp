#include <cmath>
#include <complex>

#include "kernels/common/op_case.h"
#include "kernels/log_mel/log_mel.h"

namespace wavllm {

OP_CASES(log_mel) {
    op.has_gradient = false;
    op.forward = [](Inputs in, const Params& p) { return kernels::log_mel(in[0], in[1], p.i("frames")); };

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
