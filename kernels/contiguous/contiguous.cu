// Copies of strided views. A view that keeps its last dimension is copied row by row; one that swapped it for another, as
// transpose() makes, goes through tiles in shared memory, so that both sides move whole sectors.

#include "kernels/common/elementwise.cuh"
#include "kernels/contiguous/contiguous_body.h"

namespace wavllm::kernels {

namespace {

__device__ __forceinline__ int64_t quotient(int64_t a, int64_t b) {
    if ((a | b) >> 32 == 0) return static_cast<uint32_t>(a) / static_cast<uint32_t>(b);  // half of the instructions
    return a / b;
}

/// Where element `index` of the first `rank` dimensions lies.
__device__ __forceinline__ int64_t offset_of(int64_t index, const StridedView& view, int rank) {
    int64_t offset = 0;
#pragma unroll  // with constant indices the view stays in constant memory
    for (int i = 4; i >= 0; --i) {
        if (i >= rank) continue;
        const int64_t rest = i == 0 ? 0 : quotient(index, view.size[i]);
        offset += (index - rest * view.size[i]) * view.stride[i];
        index = rest;
    }
    return offset;
}

template <class T>
struct CopyRows {
    const T* x;
    T* y;
    StridedView view;
    int64_t columns, column_stride;
    template <int V>
    __device__ void at(int64_t row, int64_t column) const {
        const T* from = x + offset_of(row, view, view.rank - 1) + column * column_stride;
        T* to = y + row * columns + column;
        if constexpr (V == 4)
            Floats<4>::load(from).store(to);
        else
            *to = *from;
    }
};

constexpr int kTile = 32;

/// Of view, dimension `across` has stride 1. Blocks of 32 x 8 threads read tiles along it and write them along the last.
struct Tiles {
    StridedView batch;  ///< the other dimensions, of x
    StridedView batch_of_y;
    int64_t a, b;  ///< sizes of dimension `across` and of the last one
    int64_t x_stride_b, y_stride_a;
    unsigned tiles_a, tiles_b;
};

template <class T>
__global__ void __launch_bounds__(256) tiles_kernel(const T* x, T* y, const Tiles tiles) {
    // A column of a tile is read by 32 lanes: rows are padded by one word, so that they come from 32 banks.
    constexpr int kPadded = kTile + (sizeof(T) < 4 ? 4 / sizeof(T) : 1);
    WAVLLM_SHARED(T, tile, [kTile][kPadded]);
    unsigned block = blockIdx.x;
    const int64_t a0 = block % tiles.tiles_a * int64_t{kTile};
    block /= tiles.tiles_a;
    const int64_t b0 = block % tiles.tiles_b * int64_t{kTile};
    const int64_t batch = block / tiles.tiles_b;
    x += offset_of(batch, tiles.batch, tiles.batch.rank);
    y += offset_of(batch, tiles.batch_of_y, tiles.batch_of_y.rank);
    for (unsigned i = threadIdx.y; i < kTile; i += 8)
        if (a0 + threadIdx.x < tiles.a && b0 + i < tiles.b)
            tile[i][threadIdx.x] = x[a0 + threadIdx.x + (b0 + i) * tiles.x_stride_b];
    __syncthreads();
    for (unsigned i = threadIdx.y; i < kTile; i += 8)
        if (a0 + i < tiles.a && b0 + threadIdx.x < tiles.b)
            y[(a0 + i) * tiles.y_stride_a + b0 + threadIdx.x] = tile[threadIdx.x][i];
}

/// The same elements in as few dimensions as they need.
StridedView merged(const StridedView& view) {
    StridedView m;
    for (int i = 0; i < view.rank; ++i) {
        if (view.size[i] == 1) continue;
        if (m.rank > 0 && m.stride[m.rank - 1] == view.stride[i] * view.size[i]) {
            m.size[m.rank - 1] *= view.size[i];
            m.stride[m.rank - 1] = view.stride[i];
        } else {
            m.size[m.rank] = view.size[i];
            m.stride[m.rank++] = view.stride[i];
        }
    }
    if (m.rank == 0) m = {.rank = 1, .size = {1}, .stride = {1}};
    return m;
}

int64_t elements(const StridedView& view) {
    int64_t n = 1;
    for (int i = 0; i < view.rank; ++i) n *= view.size[i];
    return n;
}

template <class T>
void copy_rows(const T* x, const StridedView& view, T* y) {
    const int64_t columns = view.size[view.rank - 1], column_stride = view.stride[view.rank - 1];
    const CopyRows<T> copy{x, y, view, columns, column_stride};
    if constexpr (sizeof(T) == 4) {
        bool wide = column_stride == 1 && columns % 4 == 0 && aligned<4>(x, y);
        for (int i = 0; i + 1 < view.rank; ++i) wide = wide && view.stride[i] % 4 == 0;
        launch_cells("contiguous", copy, elements(view) / columns, columns, wide);
    } else {
        launch_ones("contiguous", copy, elements(view) / columns, columns);
    }
}

template <class T>
void copy_tiles(const T* x, const StridedView& view, int across, T* y) {
    const int last = view.rank - 1;
    Tiles tiles{.a = view.size[across], .b = view.size[last], .x_stride_b = view.stride[last]};
    int64_t y_stride = 1;
    int64_t y_strides[5] = {};
    for (int i = last; i >= 0; --i) {
        y_strides[i] = y_stride;
        y_stride *= view.size[i];
    }
    tiles.y_stride_a = y_strides[across];
    for (int i = 0; i < last; ++i) {
        if (i == across) continue;
        const int at = tiles.batch.rank++;
        tiles.batch_of_y.rank = tiles.batch.rank;
        tiles.batch.size[at] = tiles.batch_of_y.size[at] = view.size[i];
        tiles.batch.stride[at] = view.stride[i];
        tiles.batch_of_y.stride[at] = y_strides[i];
    }
    tiles.tiles_a = static_cast<unsigned>((tiles.a + kTile - 1) / kTile);
    tiles.tiles_b = static_cast<unsigned>((tiles.b + kTile - 1) / kTile);
    launch(tiles_kernel<T>,
           {.grid = dim3(tiles.tiles_a * tiles.tiles_b * static_cast<unsigned>(elements(tiles.batch))),
            .block = dim3(kTile, 8),
            .name = "contiguous, transposed"},
           x, y, tiles);
}

template <class T>
void copy(const void* from, const StridedView& view, void* to, bool use_tiles) {
    const auto* x = static_cast<const T*>(from);
    auto* y = static_cast<T*>(to);
    const int last = view.rank - 1;
    int across = -1;
    for (int i = 0; i < last; ++i)
        if (view.stride[i] == 1) across = i;
    if (use_tiles && view.stride[last] != 1 && across >= 0)
        copy_tiles(x, view, across, y);
    else
        copy_rows(x, view, y);
}

void copy_any(const void* x, const StridedView& any, int element_bytes, void* y, bool use_tiles) {
    if (elements(any) == 0) return;
    const StridedView view = merged(any);
    switch (element_bytes) {
        case 1: return copy<uint8_t>(x, view, y, use_tiles);
        case 2: return copy<uint16_t>(x, view, y, use_tiles);
        case 4: return copy<float>(x, view, y, use_tiles);
        default: return copy<double>(x, view, y, use_tiles);
    }
}

void contiguous(const void* x, const StridedView& view, int element_bytes, void* y) {
    copy_any(x, view, element_bytes, y, true);
}

void naive(const void* x, const StridedView& view, int element_bytes, void* y) {
    copy_any(x, view, element_bytes, y, false);
}

WAVLLM_CUDA_BODY(contiguous_body, contiguous);
WAVLLM_CUDA_BODY(contiguous_naive_body, naive);

}  // namespace

}  // namespace wavllm::kernels
