#pragma once
// What the kernels of a product share: which tile a block has, and a column's request.

#include "kernels/common/borders.cuh"
#include "kernels/gemm/gemm_body.h"

namespace wavllm::kernels {

/// The tile of this block and its product in the batch. Blocks that run at the same time should read the same lines, so
/// they go through the rows of tiles in groups of eight, column by column.
struct TilePlace {
    int64_t row, column, batch;
};
static __device__ __forceinline__ TilePlace tile_place(int64_t rows, int64_t columns) {
    constexpr int64_t kGroup = 8;
    const int64_t batch = blockIdx.x / (rows * columns), i = blockIdx.x % (rows * columns);
    const int64_t first = i / (kGroup * columns) * kGroup, in_group = i % (kGroup * columns);
    const int64_t height = rows - first < kGroup ? rows - first : kGroup;
    return {first + in_group % height, in_group / height, batch};
}

/// In one access of 16 bytes.
static __device__ __forceinline__ Window load_window(const Window* p) {
    const int4 v = *reinterpret_cast<const int4*>(p);
    Window w;
    w.begin = static_cast<int64_t>(static_cast<uint32_t>(v.x)) | static_cast<int64_t>(v.y) << 32;
    w.lo = v.z;
    w.hi = v.w;
    return w;
}

/// Which request a row belongs to.
static __device__ __forceinline__ int64_t request_of(const RowScale& s, int64_t row) {
    return part_of(s.borders, s.requests, row);
}

}  // namespace wavllm::kernels
