#pragma once
// GroupNorm in double: moments over all rows of a sequence and the channels of a group.

#include "kernels/common/f64.h"
#include "kernels/group_norm/group_norm.h"

namespace wavllm::kernels::f64 {

inline GroupNorm group_norm(const Tensor& x, const Tensor& borders, const Tensor& w, const Tensor& b, int64_t groups,
                            double eps) {
    const In px("group_norm", "x", x);
    const int64_t channels = px.columns(), each = channels / std::max<int64_t>(1, groups);
    if (x.rank() != 2 || groups < 1 || each * groups != channels)
        throw ShapeError("group_norm: {} groups do not divide the channels of x, {}", groups, x.describe());
    const In pw("group_norm", "weight", w, {channels}), pb("group_norm", "bias", b, {channels});
    const auto at = borders_of("group_norm", borders, px.rows());
    const auto sequences = static_cast<int64_t>(at.size()) - 1;
    GroupNorm result{zeros(x.shape()), zeros({sequences, 2, channels})};
    double *py = result.y.mutable_data<double>(), *pm = result.moments.mutable_data<double>();
    for (int64_t s = 0; s < sequences; ++s) {
        const int64_t begin = at[static_cast<size_t>(s)], end = at[static_cast<size_t>(s) + 1];
        const double n = static_cast<double>((end - begin) * each);
        for (int64_t first = 0; first < channels; first += each) {
            double mean = 0, variance = 0;
            for (int64_t t = begin; t < end; ++t)
                for (int64_t c = first; c < first + each; ++c) mean += px[t * channels + c] / n;
            for (int64_t t = begin; t < end; ++t)
                for (int64_t c = first; c < first + each; ++c) {
                    const double centred = px[t * channels + c] - mean;
                    variance += centred * centred / n;
                }
            const double r = 1 / std::sqrt(variance + eps);
            for (int64_t c = first; c < first + each; ++c) {
                pm[2 * s * channels + c] = mean;
                pm[(2 * s + 1) * channels + c] = r;
                for (int64_t t = begin; t < end; ++t)
                    py[t * channels + c] = (px[t * channels + c] - mean) * r * pw[c] + pb[c];
            }
        }
    }
    return result;
}

inline Tensor group_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& borders, const Tensor& w,
                                  const Tensor& moments, int64_t groups, bool want_dx, Tensor* dw, Tensor* db) {
    const In px("group_norm backward", "x", x), pdy("group_norm backward", "dy", dy, x.shape());
    const int64_t channels = px.columns(), each = channels / groups;
    const auto at = borders_of("group_norm backward", borders, px.rows());
    const auto sequences = static_cast<int64_t>(at.size()) - 1;
    const In pw("group_norm backward", "weight", w, {channels}),
        pm("group_norm backward", "moments", moments, {sequences, 2, channels});
    Tensor dx = want_dx ? zeros(x.shape()) : Tensor();
    double *pdx = want_dx ? dx.mutable_data<double>() : nullptr, *pdw = dw ? dw->mutable_data<double>() : nullptr,
           *pdb = db ? db->mutable_data<double>() : nullptr;
    for (int64_t s = 0; s < sequences; ++s) {
        const int64_t begin = at[static_cast<size_t>(s)], end = at[static_cast<size_t>(s) + 1];
        const double count = static_cast<double>((end - begin) * each);
        for (int64_t first = 0; first < channels; first += each) {
            const double mean = pm[2 * s * channels + first], r = pm[(2 * s + 1) * channels + first];
            double g_mean = 0, gn_mean = 0;
            for (int64_t t = begin; t < end; ++t)
                for (int64_t c = first; c < first + each; ++c) {
                    const double d = pdy[t * channels + c], n = (px[t * channels + c] - mean) * r;
                    g_mean += pw[c] * d / count;
                    gn_mean += pw[c] * d * n / count;
                    if (dw) pdw[c] += d * n;
                    if (db) pdb[c] += d;
                }
            for (int64_t t = begin; want_dx && t < end; ++t)
                for (int64_t c = first; c < first + each; ++c) {
                    const double g = pw[c] * pdy[t * channels + c], n = (px[t * channels + c] - mean) * r;
                    pdx[t * channels + c] = r * (g - g_mean - n * gn_mean);
                }
        }
    }
    return dx;
}

}  // namespace wavllm::kernels::f64
