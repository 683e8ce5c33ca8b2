#include "kernels/rope/rope.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/common/simd.h"
#include "kernels/rope/rope_body.h"
#include "kernels/rope/rope_f64.h"
#include "tensor/graph.h"
#include "tensor/thread_pool.h"

namespace wavllm {

RopeTable make_rope_table(int64_t max_positions, int64_t head_dim, double theta, DType dtype) {
    if (head_dim < 2 || head_dim % 2 || max_positions < 1)
        throw ShapeError(
            "rope: a table of {} positions for head dimension {}: needs at least one position and an even "
            "head dimension",
            max_positions, head_dim);
    const int64_t half = head_dim / 2;
    RopeTable table{Tensor::empty({max_positions, half}, DType::f64), Tensor::empty({max_positions, half}, DType::f64)};
    double *pc = table.cos.mutable_data<double>(), *ps = table.sin.mutable_data<double>();
    for (int64_t i = 0; i < half; ++i) {
        const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
        for (int64_t t = 0; t < max_positions; ++t) {
            pc[t * half + i] = std::cos(static_cast<double>(t) * frequency);
            ps[t * half + i] = std::sin(static_cast<double>(t) * frequency);
        }
    }
    if (dtype == DType::f64) return table;
    return {table.cos.to(dtype), table.sin.to(dtype)};
}

namespace kernels {

namespace {

struct Pair {
    vf a, b;
};

WAVLLM_INLINE Pair rotate(Pair x, vf c, vf s) {
    return {fma(x.a, c, -(x.b * s)), fma(x.a, s, x.b * c)};
}

/// One head of one row; sign is +1, or -1 for the inverse.
void rotate_halves(const float* x, const float* c, const float* s, float sign, int64_t half, float* y) {
    for_lanes(half, [&](int64_t i, auto n) {
        const Pair r = rotate({load(x + i, n), load(x + half + i, n)}, load(c + i, n), load(s + i, n) * sign);
        store(y + i, r.a, n);
        store(y + half + i, r.b, n);
    });
}

void rotate_neighbours(const float* x, const float* c, const float* s, float sign, int64_t half, float* y) {
    for_lanes(half, [&](int64_t i, auto n) {
        const int64_t lanes = 2 * n, first = std::min<int64_t>(lanes, kLanes), second = lanes - first;
        const vf x0 = load(x + 2 * i, first), x1 = load(x + 2 * i + kLanes, second);
        const Pair r =
            rotate({__builtin_shufflevector(x0, x1, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
                    __builtin_shufflevector(x0, x1, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)},
                   load(c + i, n), load(s + i, n) * sign);
        store(y + 2 * i, __builtin_shufflevector(r.a, r.b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
              first);
        store(y + 2 * i + kLanes,
              __builtin_shufflevector(r.a, r.b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), second);
    });
}

void check_positions(const Tensor& positions, int64_t limit) {
    const int32_t* p = positions.data<int32_t>();
    for (int64_t t = 0; t < positions.numel(); ++t)
        if (p[t] < 0 || p[t] >= limit)
            throw ShapeError("rope: position {} of row {} is outside the table of {} positions; make a longer table",
                             p[t], t, limit);
}

}  // namespace

Tensor rope(const Tensor& x, const Tensor& positions, const RopeTable& table, RopeLayout layout, bool inverse) {
    if (!x.defined() || x.rank() != 3 || x.dim(2) < 2 || x.dim(2) % 2 || x.stride(2) != 1)
        throw ShapeError("rope: x must be [rows, heads, even head dimension] with contiguous heads, but is {}",
                         x.defined() ? x.describe() : "an undefined tensor");
    const int64_t rows = x.dim(0), heads = x.dim(1), dh = x.dim(2), half = dh / 2;
    const Device device = x.device();
    const DType dtype = f64::runs(x) ? DType::f64 : DType::f32;
    const bool there = device != Device::cpu && positions.device() == device;
    expect("rope", "positions", positions, {rows}, DType::i32, there ? device : Device::cpu);
    expect("rope", "cos", table.cos, dtype, device);
    expect("rope", "cos", table.cos, {table.cos.shape()[0], half}, dtype, device);
    expect("rope", "sin", table.sin, table.cos.shape(), dtype, device);
    if (!there) {
        check_positions(positions, table.cos.dim(0));
        if (device != Device::cpu) expect_no_capture("rope with positions on the CPU");
    }
    if (dtype == DType::f64) return f64::rope(x, positions, table, layout, inverse);
    Tensor y = Tensor::empty(x.shape(), DType::f32, device);
    const float sign = inverse ? -1.0f : 1.0f;
    if (device != Device::cpu) {
        const Tensor at = positions.mirror(device);
        const auto& body = layout == RopeLayout::half_split ? rope_half_split_body : rope_interleaved_body;
        on(body, device)(x.device_data<float>(), at.device_data<int32_t>(), table.cos.device_data<float>(),
                         table.sin.device_data<float>(), sign, y.mutable_device_data<float>(),
                         {rows, heads, half, x.stride(0), x.stride(1)});
        return y;
    }
    const int32_t* pp = positions.data<int32_t>();
    const float *px = x.data<float>(), *pc = table.cos.data<float>(), *ps = table.sin.data<float>();
    float* py = y.mutable_data<float>();
    const auto rotate_head = layout == RopeLayout::half_split ? rotate_halves : rotate_neighbours;
    parallel_for(rows, row_chunk(heads * dh), [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
            for (int64_t h = 0; h < heads; ++h)
                rotate_head(px + t * x.stride(0) + h * x.stride(1), pc + pp[t] * half, ps + pp[t] * half, sign, half,
                            py + (t * heads + h) * dh);
    });
    return y;
}

}  // namespace kernels

}  // namespace wavllm
