#pragma once
// The cumulative distribution of the standard normal, Phi(x) = (1 + erf(x / sqrt 2)) / 2, on 16 lanes.
//
// Two ranges, so that neither rounding near 0.5 nor cancellation in the lower tail costs digits:
//   |x| < 1:  Phi(x) = 0.5 + x A(x^2)
//   |x| >= 1: Phi(-|x|) = e^(-x^2/2) s R(s), s = 1 / (|x| + 2), and Phi(|x|) = 1 - Phi(-|x|)
// The coefficients were fitted for this file: least squares on 500 Chebyshev nodes of the argument (x^2 in [0, 1]; s in
// [1/16, 1/3]), reweighted by the residual until the relative error was level (Lawson's method), targets computed with
// 40 digits. A is off by at most 7e-10, R by 5e-8, both relative; with f32 rounding Phi is good to 1e-7 absolute.

#include "kernels/common/simd.h"

namespace wavllm::kernels {

struct NormalDistribution {
    vf cdf;
    vf exponential;  ///< e^(-x^2/2): the density times sqrt(2 pi)
};

WAVLLM_INLINE NormalDistribution normal_distribution(vf x) {
    const vf square = x * x;
    const vf e = exp(-0.5f * square);

    vf a = broadcast(-7.65420864e-06f);
    a = fma(a, square, broadcast(0.000113486373f));
    a = fma(a, square, broadcast(-0.00118632994f));
    a = fma(a, square, broadcast(0.00997332341f));
    a = fma(a, square, broadcast(-0.0664903599f));
    a = fma(a, square, broadcast(0.39894228f));

    const vf z = x < 0.0f ? -x : x;
    const vf s = 1.0f / (z + 2.0f);
    vf r = broadcast(-32.6553318f);
    r = fma(r, s, broadcast(47.8214564f));
    r = fma(r, s, broadcast(-21.7988129f));
    r = fma(r, s, broadcast(0.17442433f));
    r = fma(r, s, broadcast(0.61981685f));
    r = fma(r, s, broadcast(1.20413634f));
    r = fma(r, s, broadcast(0.797794294f));
    r = fma(r, s, broadcast(0.398940823f));
    const vf tail = e * s * r;

    const vf outer = x < 0.0f ? tail : 1.0f - tail;
    return {square < 1.0f ? fma(x, a, broadcast(0.5f)) : outer, e};
}

}  // namespace wavllm::kernels
