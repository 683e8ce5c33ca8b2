#pragma once
// Tiles of bf16 in shared memory, from global memory to the tensor cores' registers.
//
// A tile has Height lines of Width elements, in chunks of 8 (16 bytes: what cp_async copies and a row of ldmatrix's 8 x 8
// matrices). Chunks of a line are permuted by an xor with the line's number, so that eight lines' chunks of one column,
// which ldmatrix reads at once, lie in 32 different banks.

#include "kernels/common/formats.cuh"
#include "kernels/gemm/lines.cuh"

namespace wavllm::kernels {

/// Where a chunk stands, in elements.
template <int Width>
static __device__ __forceinline__ int chunk_at(int line, int chunk) {
    constexpr int kChunks = Width / 8;
    static_assert(kChunks == 2 || kChunks == 4 || kChunks % 8 == 0, "lines of 16, 32 or multiples of 64 elements");
    if (kChunks == 2) return line * Width + (chunk ^ (line / 4 % 2)) * 8;
    if (kChunks == 4) return line * Width + (chunk ^ (line / 2 % 4)) * 8;
    return line * Width + (chunk ^ (line % 8)) * 8;
}

/// Where a tile lies in a factor: its first line and column, and how many lines and columns the factor has.
struct TileOrigin {
    int64_t line, column, lines, columns;
};

/// Starts the copy of a tile of bf16 lines; what the factor does not have becomes zeros.
template <int Height, int Width, int Threads>
static __device__ __forceinline__ void copy_tile(const Lines& f, const uint16_t* data, const TileOrigin& o,
                                                 uint16_t* tile) {
    constexpr int kChunks = Width / 8;
#pragma unroll
    for (int at = static_cast<int>(threadIdx.x); at < Height * kChunks; at += Threads) {
        const int64_t line = o.line + at / kChunks, column = o.column + at % kChunks * 8;
        const uint16_t* from = data;  // a valid address where nothing is read
        int64_t count = 0;
        if (line < o.lines && column < o.columns) {
            count = o.columns - column < 8 ? o.columns - column : 8;
            if (f.windows != nullptr) {  // padding begins and ends between chunks
                const Window w = load_window(f.windows + line);
                if (column < w.lo || column >= w.hi) count = 0;
                from = count > 0 ? data + w.begin + column : data;
            } else {
                from = data + line * f.stride + column;
            }
        }
        cp_async<16>(tile + chunk_at<Width>(at / kChunks, at % kChunks), from, static_cast<int>(count) * 2);
    }
}

/// Fragments of a 16 x 16 piece of the left factor whose row `row` and step `k` stand in the tile.
template <int Width, bool Across>
static __device__ __forceinline__ void load_a(const uint16_t* tile, int row, int k, uint32_t (&a)[4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if (Across)  // lines are steps of the chain: matrices k 0-7 rows 0-7, k 0-7 rows 8-15, k 8-15 ...
        ldmatrix_trans(a, tile + chunk_at<Width>(k + lane / 16 * 8 + lane % 8, row / 8 + lane / 8 % 2));
    else
        ldmatrix(a, tile + chunk_at<Width>(row + lane % 16, k / 8 + lane / 16));
}

/// Fragments of two neighbouring 16 x 8 pieces of the right factor: b[0], b[1] of columns column .. column + 7, b[2], b[3] of the
/// next eight.
template <int Width, bool Across>
static __device__ __forceinline__ void load_b(const uint16_t* tile, int column, int k, uint32_t (&b)[4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if (Across)
        ldmatrix_trans(b, tile + chunk_at<Width>(k + lane % 16, column / 8 + lane / 16));
    else
        ldmatrix(b, tile + chunk_at<Width>(column + lane / 16 * 8 + lane % 8, k / 8 + lane / 8 % 2));
}

}  // namespace wavllm::kernels
