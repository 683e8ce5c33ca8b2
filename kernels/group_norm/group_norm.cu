// Two stages, no atomics: blocks add up chunks of 256 rows and 32 channels, then the chunks are merged in double. All
// orders are set by a sequence's length.

#include "kernels/common/borders.cuh"
#include "kernels/common/elementwise.cuh"
#include "kernels/group_norm/group_norm_body.h"

namespace wavllm::kernels {

namespace {

constexpr int kWarps = 8, kRowsEach = kGroupNormChunk / kWarps;

/// The chunks of a sequence: `count` from `first` on.
struct SequenceChunks {
    int64_t first, count, rows;
};
__device__ __forceinline__ SequenceChunks chunks_of(const DeviceGroupNorm& g, int64_t sequence) {
    SequenceChunks c{0, 0, 0};
    for (int64_t s = 0; s <= sequence; ++s) {  // a batch has a few
        c.first += c.count;
        c.rows = g.borders[s + 1] - g.borders[s];
        c.count = (c.rows + kGroupNormChunk - 1) / kGroupNormChunk;
    }
    return c;
}

/// A block of 32 x 8 threads: 32 channels of one chunk.
struct ChunkBlock {
    int64_t chunk, sequence, row0, rows, channel;

    static __device__ __forceinline__ ChunkBlock of(const DeviceGroupNorm& g, unsigned column_blocks) {
        ChunkBlock b{};
        b.chunk = blockIdx.x / column_blocks;
        b.channel = blockIdx.x % column_blocks * int64_t{32} + threadIdx.x;
        int64_t k = b.chunk, count = 0;
        for (;; ++b.sequence, k -= count) {
            b.row0 = g.borders[b.sequence];
            b.rows = g.borders[b.sequence + 1] - b.row0;
            count = (b.rows + kGroupNormChunk - 1) / kGroupNormChunk;
            if (k < count) break;
        }
        b.row0 += k * kGroupNormChunk;
        b.rows = min(kGroupNormChunk, b.rows - k * kGroupNormChunk);
        return b;
    }
    __device__ __forceinline__ bool has(const DeviceGroupNorm& g, int i) const {
        return channel < g.channels && static_cast<int64_t>(threadIdx.y) + i * kWarps < rows;
    }
    __device__ __forceinline__ int64_t at(const DeviceGroupNorm& g, int i) const {
        return (row0 + threadIdx.y + i * kWarps) * g.channels + channel;
    }
};

/// Over the eight warps, for each of a block's 32 columns; every thread gets it.
template <class T>
__device__ __forceinline__ T sum_over_warps(T v, T (*partial)[32]) {
    __syncthreads();  // some may still read the sums of the last call
    partial[threadIdx.y][threadIdx.x] = v;
    __syncthreads();
    T sum = partial[0][threadIdx.x];
    for (int i = 1; i < kWarps; ++i) sum += partial[i][threadIdx.x];
    return sum;
}

__global__ void __launch_bounds__(256) chunk_moments_kernel(DeviceGroupNorm g, unsigned column_blocks) {
    WAVLLM_SHARED(float, partial, [kWarps][32]);
    const auto b = ChunkBlock::of(g, column_blocks);
    float v[kRowsEach], sum = 0, squares = 0;
#pragma unroll
    for (int i = 0; i < kRowsEach; ++i) {
        v[i] = b.has(g, i) ? g.x[b.at(g, i)] : 0.0f;
        sum += v[i];
    }
    const float mean = sum_over_warps(sum, partial) / static_cast<float>(b.rows);
#pragma unroll
    for (int i = 0; i < kRowsEach; ++i)
        if (b.has(g, i)) squares = fmaf(v[i] - mean, v[i] - mean, squares);
    squares = sum_over_warps(squares, partial);
    if (threadIdx.y != 0 || b.channel >= g.channels) return;
    g.chunks[2 * b.chunk * g.channels + b.channel] = mean;
    g.chunks[(2 * b.chunk + 1) * g.channels + b.channel] = squares;
}

/// totals = mean and sum of squared distances from it of each channel of a sequence.
__global__ void __launch_bounds__(256) merge_moments_kernel(DeviceGroupNorm g, unsigned column_blocks) {
    WAVLLM_SHARED(double, partial, [kWarps][32]);
    const int64_t channel = blockIdx.x % column_blocks * int64_t{32} + threadIdx.x,
                  sequence = blockIdx.x / column_blocks;
    const SequenceChunks c = chunks_of(g, sequence);
    const bool real = channel < g.channels;
    const float* chunk = g.chunks + 2 * c.first * g.channels + channel;
    const auto rows_of = [&](int64_t k) {
        return static_cast<double>(min(kGroupNormChunk, c.rows - k * kGroupNormChunk));
    };
    double sum = 0, squares = 0;
    for (int64_t k = threadIdx.y; real && k < c.count; k += kWarps)
        sum += rows_of(k) * static_cast<double>(chunk[2 * k * g.channels]);
    const double mean = sum_over_warps(sum, partial) / static_cast<double>(c.rows);
    for (int64_t k = threadIdx.y; real && k < c.count; k += kWarps) {
        const double distance = static_cast<double>(chunk[2 * k * g.channels]) - mean;
        squares += static_cast<double>(chunk[(2 * k + 1) * g.channels]) + rows_of(k) * distance * distance;
    }
    squares = sum_over_warps(squares, partial);
    if (threadIdx.y != 0 || !real) return;
    g.totals[2 * sequence * g.channels + channel] = mean;
    g.totals[(2 * sequence + 1) * g.channels + channel] = squares;
}

/// A power of two of lanes has a group of channels of one sequence.
struct GroupTeam {
    int lanes, lane;
    int64_t sequence, group, each;  ///< sequence: beyond the last one for teams without a group

    static __device__ __forceinline__ GroupTeam of(const DeviceGroupNorm& g, int lanes) {
        const int64_t thread = blockIdx.x * int64_t{256} + threadIdx.x, team = thread / lanes;
        return {lanes, static_cast<int>(thread % lanes), team / g.groups, team % g.groups, g.channels / g.groups};
    }
    __device__ __forceinline__ double sum(double v) const {  // by whole warps
        for (int distance = lanes / 2; distance > 0; distance /= 2) v += __shfl_xor_sync(0xffffffffu, v, distance);
        return v;
    }
    /// f(place of a channel in [sequences, 2, channels], channel).
    template <class F>
    __device__ __forceinline__ void each_channel(const DeviceGroupNorm& g, F&& f) const {
        if (sequence >= g.sequences) return;
        for (int64_t i = lane; i < each; i += lanes) f(2 * sequence * g.channels + group * each + i, group * each + i);
    }
};

__global__ void __launch_bounds__(256) group_moments_kernel(DeviceGroupNorm g, int lanes, float eps) {
    const auto team = GroupTeam::of(g, lanes);
    const int64_t rows = team.sequence < g.sequences ? g.borders[team.sequence + 1] - g.borders[team.sequence] : 0;
    const double count = static_cast<double>(team.each);
    double sum = 0, squares = 0;
    if (rows > 0) team.each_channel(g, [&](int64_t at, int64_t) { sum += g.totals[at]; });
    const double mean = team.sum(sum) / count;
    if (rows > 0)
        team.each_channel(g, [&](int64_t at, int64_t) {
            const double distance = g.totals[at] - mean;
            squares += g.totals[at + g.channels] + static_cast<double>(rows) * distance * distance;
        });
    squares = team.sum(squares);
    const double variance = rows > 0 ? squares / (static_cast<double>(rows) * count) : 0.0;
    team.each_channel(g, [&](int64_t at, int64_t) {
        g.moments[at] = rows > 0 ? static_cast<float>(mean) : 0.0f;
        g.moments[at + g.channels] =
            rows > 0 ? static_cast<float>(1.0 / sqrt(variance + static_cast<double>(eps))) : 0.0f;
    });
}

struct Normalise {
    DeviceGroupNorm g;
    const float* b;
    float* y;
    template <int V>
    __device__ void at(int64_t row, int64_t c) const {
        const float* m = g.moments + 2 * part_of(g.borders, g.sequences, row) * g.channels + c;
        auto a = Floats<V>::load(g.x + row * g.channels + c);
        const auto mean = Floats<V>::load(m), r = Floats<V>::load(m + g.channels), w = Floats<V>::load(g.w + c),
                   bias = Floats<V>::load(b + c);
        for (int k = 0; k < V; ++k) a.v[k] = fmaf((a.v[k] - mean.v[k]) * r.v[k], w.v[k], bias.v[k]);
        a.store(y + row * g.channels + c);
    }
};

__global__ void __launch_bounds__(256) chunk_sums_kernel(DeviceGroupNorm g, const float* dy, unsigned column_blocks) {
    WAVLLM_SHARED(float, partial, [kWarps][32]);
    const auto b = ChunkBlock::of(g, column_blocks);
    const float* m = g.moments + 2 * b.sequence * g.channels + b.channel;
    const bool real = b.channel < g.channels;
    const float mean = real ? m[0] : 0.0f, r = real ? m[g.channels] : 0.0f;
    float sum = 0, products = 0;
#pragma unroll 4
    for (int i = 0; i < kRowsEach; ++i)
        if (b.has(g, i)) {
            const float up = dy[b.at(g, i)];
            sum += up;
            products = fmaf(up, (g.x[b.at(g, i)] - mean) * r, products);
        }
    sum = sum_over_warps(sum, partial);
    products = sum_over_warps(products, partial);
    if (threadIdx.y != 0 || !real) return;
    g.chunks[2 * b.chunk * g.channels + b.channel] = sum;
    g.chunks[(2 * b.chunk + 1) * g.channels + b.channel] = products;
}

/// totals = the sums of dy and of dy n of each channel of a sequence.
__global__ void __launch_bounds__(256) merge_sums_kernel(DeviceGroupNorm g, unsigned column_blocks) {
    WAVLLM_SHARED(double, partial, [kWarps][32]);
    const int64_t channel = blockIdx.x % column_blocks * int64_t{32} + threadIdx.x,
                  sequence = blockIdx.x / column_blocks;
    const SequenceChunks c = chunks_of(g, sequence);
    const bool real = channel < g.channels;
    const float* chunk = g.chunks + 2 * c.first * g.channels + channel;
    double sum = 0, products = 0;
    for (int64_t k = threadIdx.y; real && k < c.count; k += kWarps) {
        sum += static_cast<double>(chunk[2 * k * g.channels]);
        products += static_cast<double>(chunk[(2 * k + 1) * g.channels]);
    }
    sum = sum_over_warps(sum, partial);
    products = sum_over_warps(products, partial);
    if (threadIdx.y != 0 || !real) return;
    g.totals[2 * sequence * g.channels + channel] = sum;
    g.totals[(2 * sequence + 1) * g.channels + channel] = products;
}

__global__ void __launch_bounds__(256) add_totals_kernel(DeviceGroupNorm g, float* dw, float* db) {
    const int64_t c = blockIdx.x * int64_t{256} + threadIdx.x;
    if (c >= g.channels) return;
    for (int64_t s = 0; s < g.sequences; ++s) {
        if (db != nullptr) db[c] += static_cast<float>(g.totals[2 * s * g.channels + c]);
        if (dw != nullptr) dw[c] += static_cast<float>(g.totals[(2 * s + 1) * g.channels + c]);
    }
}

__global__ void __launch_bounds__(256) group_means_kernel(DeviceGroupNorm g, int lanes, float* means) {
    const auto team = GroupTeam::of(g, lanes);
    const int64_t rows = team.sequence < g.sequences ? g.borders[team.sequence + 1] - g.borders[team.sequence] : 0;
    const double count = static_cast<double>(rows * team.each);
    double sum = 0, products = 0;
    team.each_channel(g, [&](int64_t at, int64_t c) {
        sum += static_cast<double>(g.w[c]) * g.totals[at];
        products += static_cast<double>(g.w[c]) * g.totals[at + g.channels];
    });
    sum = team.sum(sum);
    products = team.sum(products);
    team.each_channel(g, [&](int64_t at, int64_t) {  // an empty sequence has no row that would read them
        means[at] = rows > 0 ? static_cast<float>(sum / count) : 0.0f;
        means[at + g.channels] = rows > 0 ? static_cast<float>(products / count) : 0.0f;
    });
}

struct BackwardX {
    DeviceGroupNorm g;
    const float *dy, *means;
    float* dx;
    template <int V>
    __device__ void at(int64_t row, int64_t c) const {
        const int64_t of_sequence = 2 * part_of(g.borders, g.sequences, row) * g.channels + c;
        const float *m = g.moments + of_sequence, *gm = means + of_sequence;
        auto a = Floats<V>::load(g.x + row * g.channels + c);
        const auto mean = Floats<V>::load(m), r = Floats<V>::load(m + g.channels), w = Floats<V>::load(g.w + c),
                   up = Floats<V>::load(dy + row * g.channels + c), g_mean = Floats<V>::load(gm),
                   gn_mean = Floats<V>::load(gm + g.channels);
        for (int k = 0; k < V; ++k)
            a.v[k] = r.v[k] * fmaf((a.v[k] - mean.v[k]) * r.v[k], -gn_mean.v[k], w.v[k] * up.v[k] - g_mean.v[k]);
        a.store(dx + row * g.channels + c);
    }
};

unsigned column_blocks(const DeviceGroupNorm& g) {
    return static_cast<unsigned>((g.channels + 31) / 32);
}

/// `kernel` for the chunks, then `merge` for the sequences.
template <class Chunks, class... A>
void in_two_stages(const char* name, const DeviceGroupNorm& g, Chunks kernel, void (*merge)(DeviceGroupNorm, unsigned),
                   A... a) {
    const unsigned columns = column_blocks(g);
    if (g.all_chunks > 0)
        launch(kernel,
               {.grid = dim3(static_cast<unsigned>(g.all_chunks) * columns), .block = dim3(32, kWarps), .name = name},
               g, a..., columns);
    launch(merge, {.grid = dim3(static_cast<unsigned>(g.sequences) * columns), .block = dim3(32, kWarps), .name = name},
           g, columns);
}

template <class Kernel, class A>
void by_group(const char* name, const DeviceGroupNorm& g, Kernel kernel, A a) {
    int lanes = 1;
    while (lanes < 32 && lanes < g.channels / g.groups) lanes *= 2;
    const int64_t threads = g.sequences * g.groups * lanes;
    launch(kernel, {.grid = dim3(static_cast<unsigned>((threads + 255) / 256)), .block = 256, .name = name}, g, lanes,
           a);
}

void forward(const DeviceGroupNorm& g, const float* b, float* y, float eps) {
    if (g.sequences == 0 || g.channels == 0) return;
    in_two_stages("group_norm moments", g, chunk_moments_kernel, merge_moments_kernel);
    by_group("group_norm moments of groups", g, group_moments_kernel, eps);
    launch_cells("group_norm", Normalise{g, b, y}, g.rows, g.channels,
                 g.channels % 4 == 0 && aligned<4>(g.x, g.w, b, y, g.moments));
}

void backward(const DeviceGroupNorm& g, const float* dy, float* means, float* dx, float* dw, float* db) {
    if (g.sequences == 0 || g.channels == 0) return;
    in_two_stages("group_norm backward, sums", g, chunk_sums_kernel, merge_sums_kernel, dy);
    if (dw != nullptr || db != nullptr)
        launch(add_totals_kernel,
               {.grid = dim3(static_cast<unsigned>((g.channels + 255) / 256)),
                .block = 256,
                .name = "group_norm backward of w and b"},
               g, dw, db);
    if (dx == nullptr) return;
    by_group("group_norm backward, means", g, group_means_kernel, means);
    launch_cells("group_norm backward of x", BackwardX{g, dy, means, dx}, g.rows, g.channels,
                 g.channels % 4 == 0 && aligned<4>(g.x, g.w, dy, dx, g.moments, means));
}

WAVLLM_CUDA_BODY(group_norm_body, forward);
WAVLLM_CUDA_BODY(group_norm_backward_body, backward);

}  // namespace

}  // namespace wavllm::kernels
