#include "kernels/group_norm/group_norm.h"

#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/group_norm/group_norm_body.h"
#include "kernels/group_norm/group_norm_f64.h"

namespace wavllm::kernels {

namespace {

/// x [T, C] and its sequences, checked.
struct Sizes {
    Sizes(std::string_view op, const Tensor& x, const Tensor& sequence_borders, int64_t group_count)
        : groups(group_count) {
        expect(op, "x", x, DType::f32, x.device());
        if (x.rank() != 2) throw ShapeError("{}: x must be [T, C], but is {}", op, x.describe());
        rows = x.dim(0);
        channels = x.dim(1);
        if (groups < 1 || channels % groups != 0)
            throw ShapeError("{}: {} groups do not divide the channels of x, {}", op, groups, x.describe());
        borders = borders_of(op, sequence_borders, rows);
        for (int64_t s = 0; s < sequences(); ++s) {
            all_chunks += group_norm_chunks(length(s));
            longest = std::max(longest, group_norm_chunks(length(s)));
        }
    }
    int64_t sequences() const {
        return static_cast<int64_t>(borders.size()) - 1;
    }
    int64_t begin(int64_t s) const {
        return borders[static_cast<size_t>(s)];
    }
    int64_t length(int64_t s) const {
        return begin(s + 1) - begin(s);
    }

    std::span<const int64_t> borders;
    int64_t rows = 0, channels = 0, groups;
    int64_t all_chunks = 0, longest = 0;  ///< chunks, and those of the longest sequence
};

/// Memory that a device's body writes to, and what it is told.
struct OnDevice {
    OnDevice(const Sizes& z, const Tensor& x, const Tensor& w, const Tensor& borders)
        : chunks(workspace({z.all_chunks, 2, z.channels}, x.device())),
          totals(workspace({z.sequences(), 2, z.channels}, x.device(), DType::f64)),
          g{.x = x.device_data<float>(),
            .w = w.device_data<float>(),
            .borders = borders.mirror(x.device()).device_data<int64_t>(),
            .sequences = z.sequences(),
            .rows = z.rows,
            .channels = z.channels,
            .groups = z.groups,
            .all_chunks = z.all_chunks,
            .chunks = chunks.mutable_device_data<float>(),
            .totals = totals.mutable_device_data<double>(),
            .moments = nullptr} {}

    Tensor chunks, totals;
    DeviceGroupNorm g;
};

/// Calls f(chunk, first row, rows) for the chunks of a sequence, on several threads.
template <class F>
void for_chunks(int64_t begin, int64_t length, F&& f) {
    parallel_for(group_norm_chunks(length), 1, [&](int64_t first, int64_t last) {
        for (int64_t k = first; k < last; ++k)
            f(k, begin + k * kGroupNormChunk, std::min(kGroupNormChunk, length - k * kGroupNormChunk));
    });
}

/// chunks[k, 0, c] = the mean of a chunk's rows, chunks[k, 1, c] = the sum of their squared distances from it.
void chunk_moments(const float* x, int64_t begin, int64_t length, int64_t channels, float* chunks) {
    for_chunks(begin, length, [=](int64_t k, int64_t first, int64_t rows) {
        const float* xk = x + first * channels;
        float* to = chunks + k * 2 * channels;
        for_lanes(channels, [&](int64_t c, auto n) {
            vf sums{}, squares{};
            for (int64_t t = 0; t < rows; ++t) sums += load(xk + t * channels + c, n);
            const vf mean = sums / static_cast<float>(rows);
            for (int64_t t = 0; t < rows; ++t) {
                const vf v = load(xk + t * channels + c, n) - mean;
                squares = fma(v, v, squares);
            }
            store(to + c, mean, n);
            store(to + channels + c, squares, n);
        });
    });
}

/// The moments of a sequence's groups from those of its chunks.
void merge_moments(const float* chunks, int64_t length, int64_t channels, int64_t groups, float eps, float* moments) {
    const int64_t each = channels / groups, count = group_norm_chunks(length);
    const double n = static_cast<double>(length * each);
    parallel_for(groups, 8, [=](int64_t first, int64_t last) {
        for (int64_t g = first; g < last; ++g) {
            double sum = 0, squares = 0;
            const auto for_parts = [&](auto&& f) {
                for (int64_t c = g * each; c < (g + 1) * each; ++c)
                    for (int64_t k = 0; k < count; ++k)
                        f(static_cast<double>(std::min(kGroupNormChunk, length - k * kGroupNormChunk)),
                          static_cast<double>(chunks[2 * k * channels + c]),
                          static_cast<double>(chunks[(2 * k + 1) * channels + c]));
            };
            for_parts([&](double rows, double mean, double) { sum += rows * mean; });
            const double mean = sum / n;
            for_parts([&](double rows, double part, double part_squares) {
                squares += part_squares + rows * (part - mean) * (part - mean);
            });
            for (int64_t c = g * each; c < (g + 1) * each; ++c) {
                moments[c] = static_cast<float>(mean);
                moments[channels + c] = static_cast<float>(1 / std::sqrt(squares / n + static_cast<double>(eps)));
            }
        }
    });
}

/// chunks[k, 0, c] = sum of dy, chunks[k, 1, c] = sum of dy n over a chunk's rows.
void chunk_sums(const float* dy, const float* x, const float* moments, int64_t begin, int64_t length, int64_t channels,
                float* chunks) {
    for_chunks(begin, length, [=](int64_t k, int64_t first, int64_t rows) {
        float* to = chunks + k * 2 * channels;
        for_lanes(channels, [&](int64_t c, auto n) {
            const vf mean = load(moments + c, n), r = load(moments + channels + c, n);
            vf sums{}, products{};
            for (int64_t t = first; t < first + rows; ++t) {
                const vf g = load(dy + t * channels + c, n);
                sums += g;
                products = fma(g, (load(x + t * channels + c, n) - mean) * r, products);
            }
            store(to + c, sums, n);
            store(to + channels + c, products, n);
        });
    });
}

/// totals[0, c], totals[1, c]: the sums of a sequence's chunks.
void merge_sums(const float* chunks, int64_t count, int64_t channels, double* totals) {
    for_column_slices(2 * channels, [=](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) totals[i] = 0;
        for (int64_t k = 0; k < count; ++k)
            for (int64_t i = first; i < last; ++i) totals[i] += chunks[k * 2 * channels + i];
    });
}

/// means[0, c] = mean(g), means[1, c] = mean(g n) over the group of c.
void group_means(const double* totals, const float* w, int64_t length, int64_t channels, int64_t groups, float* means) {
    const int64_t each = channels / groups;
    for (int64_t row = 0; row < 2; ++row)
        for (int64_t g = 0; g < groups; ++g) {
            double sum = 0;
            for (int64_t c = g * each; c < (g + 1) * each; ++c) sum += w[c] * totals[row * channels + c];
            const auto mean = static_cast<float>(sum / static_cast<double>(length * each));
            for (int64_t c = g * each; c < (g + 1) * each; ++c) means[row * channels + c] = mean;
        }
}

}  // namespace

GroupNorm group_norm(const Tensor& x, const Tensor& borders, const Tensor& w, const Tensor& b, int64_t groups,
                     double eps) {
    if (f64::runs(x)) return f64::group_norm(x, borders, w, b, groups, eps);
    const Sizes z("group_norm", x, borders, groups);
    const Device device = x.device();
    const int64_t channels = z.channels;
    expect("group_norm", "weight", w, {channels}, DType::f32, device);
    expect("group_norm", "bias", b, {channels}, DType::f32, device);
    GroupNorm result{Tensor::empty(x.shape(), DType::f32, device),
                     Tensor::empty({z.sequences(), 2, channels}, DType::f32, device)};
    if (device != Device::cpu) {
        OnDevice there(z, x, w, borders);
        there.g.moments = result.moments.mutable_device_data<float>();
        on(group_norm_body, device)(there.g, b.device_data<float>(), result.y.mutable_device_data<float>(), eps);
        return result;
    }
    Tensor chunks = workspace({z.longest, 2, channels});
    const float *px = x.data<float>(), *pw = w.data<float>(), *pb = b.data<float>();
    float *py = result.y.mutable_data<float>(), *pc = chunks.mutable_data<float>();
    for (int64_t s = 0; s < z.sequences(); ++s) {
        float* moments = result.moments.mutable_data<float>() + s * 2 * channels;
        const int64_t begin = z.begin(s), length = z.length(s);
        if (length == 0) {
            std::fill(moments, moments + 2 * channels, 0.0f);
            continue;
        }
        chunk_moments(px, begin, length, channels, pc);
        merge_moments(pc, length, channels, groups, eps, moments);
        for_rows(length, channels, [=](int64_t t) {
            const int64_t at = (begin + t) * channels;
            for_lanes(channels, [&](int64_t c, auto n) {
                const vf normal = (load(px + at + c, n) - load(moments + c, n)) * load(moments + channels + c, n);
                store(py + at + c, fma(normal, load(pw + c, n), load(pb + c, n)), n);
            });
        });
    }
    return result;
}

Tensor group_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& borders, const Tensor& w,
                           const Tensor& moments, int64_t groups, bool want_dx, Tensor* dw, Tensor* db) {
    if (f64::runs(x)) return f64::group_norm_backward(dy, x, borders, w, moments, groups, want_dx, dw, db);
    const Sizes z("group_norm backward", x, borders, groups);
    const Device device = x.device();
    const int64_t channels = z.channels;
    expect("group_norm backward", "dy", dy, x.shape(), DType::f32, device);
    expect("group_norm backward", "weight", w, {channels}, DType::f32, device);
    expect("group_norm backward", "moments", moments, {z.sequences(), 2, channels}, DType::f32, device);
    if (dw) expect("group_norm backward", "dw", *dw, {channels}, DType::f32, device);
    if (db) expect("group_norm backward", "db", *db, {channels}, DType::f32, device);
    Tensor dx = want_dx ? Tensor::empty(x.shape(), DType::f32, device) : Tensor();
    if (device != Device::cpu) {
        OnDevice there(z, x, w, borders);
        there.g.moments = const_cast<float*>(moments.device_data<float>());
        Tensor means = workspace({z.sequences(), 2, channels}, device);
        on(group_norm_backward_body, device)(there.g, dy.device_data<float>(), means.mutable_device_data<float>(),
                                             want_dx ? dx.mutable_device_data<float>() : nullptr,
                                             dw ? dw->mutable_device_data<float>() : nullptr,
                                             db ? db->mutable_device_data<float>() : nullptr);
        return dx;
    }
    Tensor chunks = workspace({z.longest, 2, channels}), sums = workspace({2, channels}, Device::cpu, DType::f64),
           means = workspace({2, channels});
    const float *px = x.data<float>(), *pdy = dy.data<float>(), *pw = w.data<float>(), *pm = moments.data<float>();
    float *pc = chunks.mutable_data<float>(), *pmeans = means.mutable_data<float>();
    auto* totals = sums.mutable_data<double>();
    for (int64_t s = 0; s < z.sequences(); ++s, pm += 2 * channels) {
        const int64_t begin = z.begin(s), length = z.length(s);
        if (length == 0) continue;
        chunk_sums(pdy, px, pm, begin, length, channels, pc);
        merge_sums(pc, group_norm_chunks(length), channels, totals);
        for (int64_t c = 0; db && c < channels; ++c) db->mutable_data<float>()[c] += static_cast<float>(totals[c]);
        for (int64_t c = 0; dw && c < channels; ++c)
            dw->mutable_data<float>()[c] += static_cast<float>(totals[channels + c]);
        if (!want_dx) continue;
        group_means(totals, pw, length, channels, groups, pmeans);
        float* pdx = dx.mutable_data<float>();
        for_rows(length, channels, [=](int64_t t) {
            const int64_t at = (begin + t) * channels;
            for_lanes(channels, [&](int64_t c, auto n) {
                const vf r = load(pm + channels + c, n), normal = (load(px + at + c, n) - load(pm + c, n)) * r;
                const vf g = load(pw + c, n) * load(pdy + at + c, n);
                store(pdx + at + c, r * fma(normal, -load(pmeans + channels + c, n), g - load(pmeans + c, n)), n);
            });
        });
    }
    return dx;
}

}  // namespace wavllm::kernels
