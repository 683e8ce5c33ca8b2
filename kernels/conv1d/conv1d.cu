#include "kernels/common/elementwise.cuh"
#include "kernels/conv1d/conv1d_body.h"

namespace wavllm::kernels {

namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ int64_t frames_of(const ConvShape& s, int64_t rows) {
    const int64_t span = rows + 2 * s.padding - s.taps;
    const int64_t frames = span < 0 ? 0 : span / s.stride + 1 - s.drop_last;
    return frames < 0 ? 0 : frames;
}

/// A batch has a few sequences: each thread counts their frames up to its own.
__global__ void conv1d_windows_kernel(ConvShape s, int64_t frames, Window* windows) {
    int64_t frame = blockIdx.x * int64_t{kThreads} + threadIdx.x;
    if (frame >= frames) return;
    Window* out = windows + frame;
    int64_t i = 0, count = 0;
    for (; i < s.sequences; ++i, frame -= count) {
        count = frames_of(s, s.borders[i + 1] - s.borders[i]);
        if (frame < count) break;
    }
    const int64_t rows = s.borders[i + 1] - s.borders[i], first = frame * s.stride - s.padding;
    const int64_t before = first < 0 ? -first : 0, after = first + s.taps > rows ? first + s.taps - rows : 0;
    const int64_t begin = (s.borders[i] + first) * s.channels;
    *reinterpret_cast<int4*>(out) =  // a Window, in one access
        make_int4(static_cast<int>(begin & 0xffffffff), static_cast<int>(begin >> 32),
                  static_cast<int>(before * s.channels), static_cast<int>((s.taps - after) * s.channels));
}

void windows(const ConvShape& s, int64_t frames, Window* out) {
    if (frames == 0) return;
    launch(conv1d_windows_kernel,
           {.grid = dim3(static_cast<unsigned>((frames + kThreads - 1) / kThreads)),
            .block = kThreads,
            .name = "conv1d windows"},
           s, frames, out);
}

template <int V>
__global__ void conv1d_fold_kernel(ConvShape s, const float* dcolumns, float* dx) {
    const int64_t row = blockIdx.x;
    int64_t i = 0, first_frame = 0;  // the row's sequence, and the frames before it
    for (; s.borders[i + 1] <= row; ++i) first_frame += frames_of(s, s.borders[i + 1] - s.borders[i]);
    const int64_t t = row - s.borders[i], frames = frames_of(s, s.borders[i + 1] - s.borders[i]);
    for (int64_t c = threadIdx.x * V; c < s.channels; c += kThreads * V) {
        Floats<V> sum;
        for (int j = 0; j < V; ++j) sum.v[j] = 0;
        for (int64_t tap = 0; tap < s.taps; ++tap) {
            const int64_t at = t + s.padding - tap;
            if (at < 0 || at % s.stride != 0 || at / s.stride >= frames) continue;
            const auto v = Floats<V>::load(dcolumns + ((first_frame + at / s.stride) * s.taps + tap) * s.channels + c);
            for (int j = 0; j < V; ++j) sum.v[j] += v.v[j];
        }
        sum.store(dx + row * s.channels + c);
    }
}

void fold(const ConvShape& s, const float* dcolumns, int64_t rows, float* dx) {
    if (rows == 0 || s.channels == 0) return;
    launch(s.channels % 4 == 0 && aligned<4>(dcolumns, dx) ? conv1d_fold_kernel<4> : conv1d_fold_kernel<1>,
           {.grid = dim3(static_cast<unsigned>(rows)), .block = kThreads, .name = "conv1d backward of x"}, s, dcolumns,
           dx);
}

/// A 32 x 32 tile of one outer index through shared memory, so that both sides are read and written in rows.
__global__ void conv1d_swap_kernel(const float* in, int64_t a, int64_t b, int64_t tiles_a, int64_t tiles_b,
                                   float* out) {
    WAVLLM_SHARED(float, tile, [32][33]);
    const int64_t outer = blockIdx.x / (tiles_a * tiles_b), at = blockIdx.x % (tiles_a * tiles_b);
    const int64_t a0 = at / tiles_b * 32, b0 = at % tiles_b * 32;
    in += outer * a * b;
    out += outer * a * b;
    for (int i = static_cast<int>(threadIdx.y); i < 32; i += 8)
        if (a0 + i < a && b0 + threadIdx.x < b) tile[i][threadIdx.x] = in[(a0 + i) * b + b0 + threadIdx.x];
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.y); i < 32; i += 8)
        if (b0 + i < b && a0 + threadIdx.x < a) out[(b0 + i) * a + a0 + threadIdx.x] = tile[threadIdx.x][i];
}

void swap_last_two(const float* in, int64_t outer, int64_t a, int64_t b, float* out) {
    if (outer * a * b == 0) return;
    const int64_t tiles_a = (a + 31) / 32, tiles_b = (b + 31) / 32;
    launch(conv1d_swap_kernel,
           {.grid = dim3(static_cast<unsigned>(outer * tiles_a * tiles_b)),
            .block = dim3(32, 8),
            .name = "conv1d order of weights"},
           in, a, b, tiles_a, tiles_b, out);
}

/// For products of several groups at once, which have no bias of their own.
struct AddBias {
    const float* bias;
    float* y;
    int64_t n;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        auto a = Floats<V>::load(y + row * n + column);
        const auto b = Floats<V>::load(bias + column);
        for (int k = 0; k < V; ++k) a.v[k] += b.v[k];
        a.store(y + row * n + column);
    }
};

void add_bias(const float* bias, float* y, int64_t rows, int64_t n) {
    launch_cells("conv1d bias", AddBias{bias, y, n}, rows, n, n % 4 == 0 && aligned<4>(bias, y));
}

WAVLLM_CUDA_BODY(conv1d_bias_body, add_bias);
WAVLLM_CUDA_BODY(conv1d_windows_body, windows);
WAVLLM_CUDA_BODY(conv1d_fold_body, fold);
WAVLLM_CUDA_BODY(conv1d_swap_body, swap_last_two);

}  // namespace

}  // namespace wavllm::kernels
