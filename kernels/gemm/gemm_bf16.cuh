#pragma once
// The product on the tensor cores: bf16 factors, sums in f32.
//
// A block makes a tile of c. Slices of both factors come through a ring of buffers in shared memory, copied by cp_async
// a few slices ahead; ldmatrix takes fragments from there to mma_m16n8k16, 16 steps of the chain at a time, in order. A
// LoRA update comes first: its few steps are made, multiplied by their strength, and the chain goes on from there, so that
// one set of registers is enough and the rank-wide product never exists in memory.

#include <type_traits>

#include "kernels/common/dropout_mask.cuh"
#include "kernels/gemm/block_tiles.cuh"

namespace wavllm::kernels {

/// Rows x Columns results a block, slices of Depth steps, WarpRows x WarpColumns warps, so many slices under way.
template <int Rows, int Columns, int Depth, int WarpRows, int WarpColumns, int Stages>
struct TensorTile {
    static constexpr int kRows = Rows, kColumns = Columns, kDepth = Depth, kStages = Stages;
    static constexpr int kWarpColumns = WarpColumns, kThreads = 32 * WarpRows * WarpColumns;
    static constexpr int kHigh = Rows / WarpRows / 16, kWide = Columns / WarpColumns / 16;  // 16 x 16 pieces of a warp
    using Results = float[kHigh][2 * kWide][4];
};
using LargeTile = TensorTile<128, 128, 64, 2, 4, 3>;
using SmallTile = TensorTile<64, 64, 64, 2, 2, 3>;
using FewRowsTile = TensorTile<16, 32, 256, 1, 2, 4>;  // decoding: all that counts is that the weight's bytes flow
// Of a weight in blocks whose lines run across the chain 32 columns would be a block a line, 20 or 34 bytes out of two
// sectors of 32; eight blocks are 160 or 272. Such a product has few tiles and leaves most of a GPU idle, but what comes
// back in training has more than 16 rows.
using FewRowsAcrossTile = TensorTile<16, 256, 64, 1, 8, 3>;

template <class T, DType B>
constexpr size_t shared_bytes() {
    constexpr size_t kA = T::kRows * T::kDepth * 2, kB = T::kColumns * T::kDepth * 2;
    if (B == DType::bf16) return T::kStages * (kA + kB);
    // a tile's blocks are as many bytes whichever side of it is the line
    return T::kStages * (kA + kRawBytes<B, T::kColumns, T::kDepth>)+kB;
}

/// 16 steps at a time, `steps` of them.
template <class T, bool AAcross, bool BAcross>
static __device__ __forceinline__ void multiply_tile(const uint16_t* a, const uint16_t* b, int steps, int row,
                                                     int column, typename T::Results& c) {
#pragma unroll
    for (int s = 0; s < T::kDepth / 16; ++s) {
        if (s >= steps) break;
        uint32_t fa[T::kHigh][4], fb[T::kWide][4];
#pragma unroll
        for (int i = 0; i < T::kHigh; ++i)
            load_a<AAcross ? T::kRows : T::kDepth, AAcross>(a, row + i * 16, s * 16, fa[i]);
#pragma unroll
        for (int j = 0; j < T::kWide; ++j)
            load_b<BAcross ? T::kColumns : T::kDepth, BAcross>(b, column + j * 16, s * 16, fb[j]);
#pragma unroll
        for (int i = 0; i < T::kHigh; ++i)
#pragma unroll
            for (int j = 0; j < T::kWide; ++j) {
                const uint32_t left[2] = {fb[j][0], fb[j][1]}, right[2] = {fb[j][2], fb[j][3]};
                mma_m16n8k16_bf16(c[i][2 * j], fa[i], left);
                mma_m16n8k16_bf16(c[i][2 * j + 1], fa[i], right);
            }
    }
}

static __device__ __forceinline__ int steps_left(int64_t k, int64_t k0, int depth) {
    return static_cast<int>(k - k0 < depth ? (k - k0 + 15) / 16 : depth / 16);
}

/// f(row, column, v): a lane's results two by two, v[0] of that column and v[1] of the next.
template <class T, class F>
static __device__ __forceinline__ void each_pair(typename T::Results& c, int64_t row, int64_t column, F&& f) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < T::kHigh; ++i)
#pragma unroll
        for (int h = 0; h < 2; ++h)
#pragma unroll
            for (int j = 0; j < 2 * T::kWide; ++j)
                f(row + i * 16 + h * 8 + lane / 4, column + j * 8 + lane % 4 * 2, &c[i][j][h * 2]);
}

/// Chains of the update, then their strength. The slices use one buffer: a rank is a slice or two.
template <class T, bool BAcross>
static __device__ __forceinline__ void make_update(const Product& p, int64_t m0, int64_t n0, uint16_t* a, uint16_t* b,
                                                   int row, int column, typename T::Results& c) {
    constexpr bool kAcross = !BAcross;
    constexpr int kHeight = kAcross ? T::kDepth : T::kColumns, kWidth = kAcross ? T::kColumns : T::kDepth;
    const Update& u = p.update;
    for (int64_t k0 = 0; k0 < u.rank; k0 += T::kDepth) {
        copy_tile<T::kRows, T::kDepth, T::kThreads>(u.rows, static_cast<const uint16_t*>(u.rows.data),
                                                    {m0, k0, p.m, u.rank}, a);
        const TileOrigin o = kAcross ? TileOrigin{k0, n0, u.rank, p.n} : TileOrigin{n0, k0, p.n, u.rank};
        copy_tile<kHeight, kWidth, T::kThreads>(u.columns, static_cast<const uint16_t*>(u.columns.data), o, b);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        multiply_tile<T, false, kAcross>(a, b, steps_left(u.rank, k0, T::kDepth), row, column, c);
        __syncthreads();
    }
    each_pair<T>(c, m0 + row, n0 + column, [&](int64_t m, int64_t n, float* v) {
        if (m >= p.m || n >= p.n) return;
        if (u.mask.row_keys != nullptr) {
            uint32_t bits[4];
            mask_bits(u.mask, m, n / 4, bits);
            v[0] = drop(u.mask, n % 4 == 0 ? bits[0] : bits[2], v[0]);
            v[1] = drop(u.mask, n % 4 == 0 ? bits[1] : bits[3], v[1]);
        } else if (u.scale.r != nullptr) {
            const float* r = u.scale.r + request_of(u.scale, m) * p.n + n;
            v[0] *= r[0];
            if (n + 1 < p.n) v[1] *= r[1];
        } else {
            v[0] *= u.scale.s;
            v[1] *= u.scale.s;
        }
    });
}

template <class T, bool AAcross, bool BAcross, DType B>
static __global__ void __launch_bounds__(T::kThreads, 1) gemm_bf16_kernel(Product p, bool wide_c) {
    constexpr int kA = T::kRows * T::kDepth, kB = T::kColumns * T::kDepth;
    constexpr int kAHeight = AAcross ? T::kDepth : T::kRows, kAWidth = AAcross ? T::kRows : T::kDepth;
    constexpr int kBHeight = BAcross ? T::kDepth : T::kColumns, kBWidth = BAcross ? T::kColumns : T::kDepth;
    constexpr bool kBlocks = B != DType::bf16;
    WAVLLM_DYNAMIC_SHARED(unsigned char, shared);
    auto* a_ring = reinterpret_cast<uint16_t*>(shared);
    uint16_t* b_ring = a_ring + T::kStages * kA;  // of blocks only one tile, and their bytes behind it
    auto* raw_ring = reinterpret_cast<uint8_t*>(b_ring + kB);
    constexpr int kRaw = kBlocks ? kRawBytes<B, kBHeight, kBWidth> : 0;

    const TilePlace tile = tile_place((p.m + T::kRows - 1) / T::kRows, (p.n + T::kColumns - 1) / T::kColumns);
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int row = warp / T::kWarpColumns * (T::kHigh * 16), column = warp % T::kWarpColumns * (T::kWide * 16);
    const int64_t m0 = tile.row * T::kRows, n0 = tile.column * T::kColumns;
    const auto* a_data = static_cast<const uint16_t*>(p.a.data) + tile.batch * p.a.batch_stride;
    const auto* b_data = static_cast<const uint16_t*>(p.b.data) + tile.batch * p.b.batch_stride;
    float* c = p.c + tile.batch * p.c_batch_stride;

    typename T::Results acc;
#pragma unroll
    for (int i = 0; i < T::kHigh; ++i)
#pragma unroll
        for (int j = 0; j < 2 * T::kWide; ++j)
#pragma unroll
            for (int k = 0; k < 4; ++k) acc[i][j][k] = 0;
    if (p.accumulate)
        each_pair<T>(acc, m0 + row, n0 + column, [&](int64_t m, int64_t n, float* v) {
            if (m >= p.m || n >= p.n) return;
            const float* from = c + m * p.c_stride + n;
            if (n + 1 < p.n && wide_c) {
                const float2 old = *reinterpret_cast<const float2*>(from);
                v[0] = old.x;
                v[1] = old.y;
            } else {
                v[0] = from[0];
                if (n + 1 < p.n) v[1] = from[1];
            }
        });
    if (!AAcross && p.update.rank > 0) make_update<T, BAcross>(p, m0, n0, a_ring, b_ring, row, column, acc);

    const auto load = [&](int64_t slice) {
        const int64_t k0 = slice * T::kDepth;
        const int stage = static_cast<int>(slice % T::kStages);
        if (k0 < p.k) {
            const TileOrigin ao = AAcross ? TileOrigin{k0, m0, p.k, p.m} : TileOrigin{m0, k0, p.m, p.k};
            const TileOrigin bo = BAcross ? TileOrigin{k0, n0, p.k, p.n} : TileOrigin{n0, k0, p.n, p.k};
            copy_tile<kAHeight, kAWidth, T::kThreads>(p.a, a_data, ao, a_ring + stage * kA);
            if constexpr (kBlocks)
                copy_blocks<B, kBHeight, kBWidth, T::kThreads>(p.b, static_cast<const uint8_t*>(p.b.data), bo,
                                                               raw_ring + stage * kRaw);
            else
                copy_tile<kBHeight, kBWidth, T::kThreads>(p.b, b_data, bo, b_ring + stage * kB);
        }
        cp_async_commit();  // an empty group too: the wait below counts groups
    };
    for (int64_t slice = 0; slice + 1 < T::kStages; ++slice) load(slice);
    const int64_t slices = (p.k + T::kDepth - 1) / T::kDepth;
    for (int64_t slice = 0; slice < slices; ++slice) {
        cp_async_wait<T::kStages - 2>();
        __syncthreads();  // this slice is there for all, and all have done with the last one
        const int stage = static_cast<int>(slice % T::kStages);
        if constexpr (kBlocks) {
            expand_tile<B, kBHeight, kBWidth, T::kThreads>(raw_ring + stage * kRaw, b_ring);
            __syncthreads();
        }
        load(slice + T::kStages - 1);  // where the last one was
        multiply_tile<T, AAcross, BAcross>(a_ring + stage * kA, kBlocks ? b_ring : b_ring + stage * kB,
                                           steps_left(p.k, slice * T::kDepth, T::kDepth), row, column, acc);
    }
    cp_async_wait<0>();

    each_pair<T>(acc, m0 + row, n0 + column, [&](int64_t m, int64_t n, float* v) {
        if (m >= p.m || n >= p.n) return;
        const bool both = n + 1 < p.n;
        if (p.bias != nullptr) {
            v[0] += p.bias[n];
            if (both) v[1] += p.bias[n + 1];
        }
        float* to = c + m * p.c_stride + n;
        if (both && wide_c) {
            *reinterpret_cast<float2*>(to) = make_float2(v[0] * p.factor, v[1] * p.factor);
        } else {
            to[0] = v[0] * p.factor;
            if (both) to[1] = v[1] * p.factor;
        }
    });
}

template <class T, bool AAcross, bool BAcross, DType B>
static void run_tensor_tile(const Product& p) {
    const int64_t blocks = p.batch * ((p.m + T::kRows - 1) / T::kRows) * ((p.n + T::kColumns - 1) / T::kColumns);
    const bool wide_c = reinterpret_cast<uintptr_t>(p.c) % 8 == 0 && p.c_stride % 2 == 0 && p.c_batch_stride % 2 == 0;
    launch(gemm_bf16_kernel<T, AAcross, BAcross, B>,
           {.grid = dim3(static_cast<unsigned>(blocks)),
            .block = T::kThreads,
            .shared_bytes = shared_bytes<T, B>(),
            .name = p.update.rank > 0 ? "lora_linear in bf16" : "gemm in bf16"},
           p, wide_c);
}

/// The tile for this size. It changes no bit, only who computes what.
template <bool AAcross, bool BAcross, DType B>
static void sized_tensor_tile(const Product& p) {
    const int64_t large = p.batch * ((p.m + 127) / 128) * ((p.n + 127) / 128);
    if constexpr (!AAcross)
        if (p.m <= FewRowsTile::kRows) {
            using Tile = std::conditional_t<BAcross && B != DType::bf16, FewRowsAcrossTile, FewRowsTile>;
            return run_tensor_tile<Tile, AAcross, BAcross, B>(p);
        }
    if (large >= 64) return run_tensor_tile<LargeTile, AAcross, BAcross, B>(p);
    run_tensor_tile<SmallTile, AAcross, BAcross, B>(p);
}

}  // namespace wavllm::kernels
