#include "models/connector/windows.h"

#include <algorithm>

#include "autograd/ops/columns.h"
#include "autograd/ops/rows.h"
#include "kernels/common/check.h"

namespace wavllm {

int64_t window_count(int64_t frames, int64_t length) {
    return frames < 1 ? 0 : std::max<int64_t>(1, (frames + length / 2) / length);
}

Windows cut_windows(const Tensor& borders, int64_t length) {
    if (length < 1) throw ShapeError("windows: a window must have at least 1 frame, not {}", length);
    const int64_t sequences = borders.numel() - 1;
    const auto in = kernels::borders_of("windows", borders, borders.data<int64_t>()[sequences]);
    Windows w;
    w.owners = Tensor::empty(borders.shape(), DType::i64);
    int64_t* owners = w.owners.mutable_data<int64_t>();
    owners[0] = 0;
    for (size_t s = 1; s < in.size(); ++s) owners[s] = owners[s - 1] + window_count(in[s] - in[s - 1], length);
    w.borders = Tensor::empty({owners[sequences] + 1}, DType::i64);
    int64_t* out = w.borders.mutable_data<int64_t>();
    out[0] = 0;
    for (size_t s = 1; s < in.size(); ++s)
        for (int64_t i = owners[s - 1], at = in [s - 1]; i < owners[s]; ++i, at += length)
            out[i + 1] = out[i] + std::min(length, in[s] - at);
    const int64_t kept = out[owners[sequences]];
    if (kept == in.back()) return w;
    w.frames = Tensor::empty({kept}, DType::i32);
    int32_t* frames = w.frames.mutable_data<int32_t>();
    for (size_t s = 1; s < in.size(); ++s) {
        const int64_t first = out[owners[s - 1]];
        for (int64_t t = first; t < out[owners[s]]; ++t) frames[t] = static_cast<int32_t>(in[s - 1] + t - first);
    }
    return w;
}

Tensor join_frames(const Tensor& a, Tensor& borders, const Tensor& b, const Tensor& b_borders) {
    const auto in_a = kernels::borders_of("join_frames", borders, a.dim(0));
    const auto in_b = kernels::borders_of("join_frames", b_borders, b.dim(0));
    if (in_a.size() != in_b.size())
        throw ShapeError("join_frames: {} sequences of one encoder, but {} of the other; are a clip's chunks one?",
                         in_a.size() - 1, in_b.size() - 1);
    Tensor joined = Tensor::empty(borders.shape(), DType::i64);
    int64_t* out = joined.mutable_data<int64_t>();
    out[0] = 0;
    for (size_t i = 1; i < in_a.size(); ++i)
        out[i] = out[i - 1] + std::min(in_a[i] - in_a[i - 1], in_b[i] - in_b[i - 1]);
    const int64_t rows = out[in_a.size() - 1];
    Tensor from_a = Tensor::empty({rows}, DType::i32), from_b = Tensor::empty({rows}, DType::i32);
    int32_t *pa = from_a.mutable_data<int32_t>(), *pb = from_b.mutable_data<int32_t>();
    for (size_t i = 1; i < in_a.size(); ++i)
        for (int64_t t = out[i - 1]; t < out[i]; ++t) {
            pa[t] = static_cast<int32_t>(in_a[i - 1] + t - out[i - 1]);
            pb[t] = static_cast<int32_t>(in_b[i - 1] + t - out[i - 1]);
        }
    borders = joined;
    return concat_columns(gather_rows(a, from_a), gather_rows(b, from_b));
}

}  // namespace wavllm
