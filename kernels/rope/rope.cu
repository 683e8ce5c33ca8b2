#include "kernels/common/elementwise.cuh"
#include "kernels/rope/rope_body.h"

namespace wavllm::kernels {

namespace {

struct Rope {
    const float* x;
    const int32_t* positions;
    const float *cos, *sin;
    float sign;
    float* y;
    RopeShape shape;

    /// Of one head of one row: `head` counts the heads of all rows.
    __device__ const float* input(int64_t row, int64_t head) const {
        return x + row * shape.row_stride + (head - row * shape.heads) * shape.head_stride;
    }
};

/// V pairs (i, i + half), V neighbouring i.
struct HalfSplit : Rope {
    template <int V>
    __device__ void at(int64_t head, int64_t i) const {
        const int64_t row = head / shape.heads, table = positions[row] * shape.half + i;
        const float* in = input(row, head) + i;
        auto a = Floats<V>::load(in), b = Floats<V>::load(in + shape.half);
        const auto c = Floats<V>::load(cos + table), s = Floats<V>::load(sin + table);
        for (int k = 0; k < V; ++k) {
            const float p = a.v[k], q = b.v[k], sk = s.v[k] * sign;
            a.v[k] = fmaf(p, c.v[k], -(q * sk));
            b.v[k] = fmaf(p, sk, q * c.v[k]);
        }
        float* out = y + head * 2 * shape.half + i;
        a.store(out);
        b.store(out + shape.half);
    }
};

/// V pairs (2i, 2i + 1): two of them are sixteen bytes.
struct Interleaved : Rope {
    template <int V>
    __device__ void at(int64_t head, int64_t i) const {
        const int64_t row = head / shape.heads, table = positions[row] * shape.half + i;
        auto a = Floats<2 * V>::load(input(row, head) + 2 * i);
        const auto c = Floats<V>::load(cos + table), s = Floats<V>::load(sin + table);
        for (int k = 0; k < V; ++k) {
            const float p = a.v[2 * k], q = a.v[2 * k + 1], sk = s.v[k] * sign;
            a.v[2 * k] = fmaf(p, c.v[k], -(q * sk));
            a.v[2 * k + 1] = fmaf(p, sk, q * c.v[k]);
        }
        a.store(y + head * 2 * shape.half + 2 * i);
    }
};

/// A pair of floats that does not lie on eight bytes.
struct InterleavedUnaligned : Rope {
    template <int V>
    __device__ void at(int64_t head, int64_t i) const {
        const int64_t row = head / shape.heads, table = positions[row] * shape.half + i;
        const float* in = input(row, head) + 2 * i;
        const float p = in[0], q = in[1], c = cos[table], s = sin[table] * sign;
        float* out = y + head * 2 * shape.half + 2 * i;
        out[0] = fmaf(p, c, -(q * s));
        out[1] = fmaf(p, s, q * c);
    }
};

void half_split(const float* x, const int32_t* positions, const float* cos, const float* sin, float sign, float* y,
                const RopeShape& shape) {
    const bool wide =
        shape.half % 4 == 0 && shape.row_stride % 4 == 0 && shape.head_stride % 4 == 0 && aligned<4>(x, cos, sin, y);
    launch_cells("rope, half split", HalfSplit{{x, positions, cos, sin, sign, y, shape}}, shape.rows * shape.heads,
                 shape.half, wide);
}

void interleaved(const float* x, const int32_t* positions, const float* cos, const float* sin, float sign, float* y,
                 const RopeShape& shape) {
    const Rope rope{x, positions, cos, sin, sign, y, shape};
    const int64_t heads = shape.rows * shape.heads;
    const bool pairs = shape.row_stride % 2 == 0 && shape.head_stride % 2 == 0 && aligned<2>(x, y);
    const bool fours = shape.half % 2 == 0 && shape.row_stride % 4 == 0 && shape.head_stride % 4 == 0 &&
                       aligned<4>(x, y) && aligned<2>(cos, sin);
    if (pairs)
        launch_cells<2>("rope, interleaved", Interleaved{rope}, heads, shape.half, fours);
    else
        launch_cells("rope, interleaved", InterleavedUnaligned{rope}, heads, shape.half, false);
}

WAVLLM_CUDA_BODY(rope_half_split_body, half_split);
WAVLLM_CUDA_BODY(rope_interleaved_body, interleaved);

}  // namespace

}  // namespace wavllm::kernels
