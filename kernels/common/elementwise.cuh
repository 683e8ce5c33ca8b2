#pragma once
// The launches of kernels that compute elements one by one, so that an op is only what it does with one of them:
//
//   map("silu", Silu{}, n, y, x)                 y[i] = Silu{}(x[i]), any number of inputs; y may be one of them
//   launch_elements(name, f, n, aligned)         f.at<V>(i) for V neighbouring elements, i = 0, V, 2V ...
//   launch_cells(name, f, rows, columns, wide)   f.at<V>(row, column) for V neighbouring columns
//
// V is 4 where four elements can be moved at once: a warp's request is then 512 bytes without a gap. Nothing here has an
// order, so a result does not depend on V.

#include <cstdint>

#include "kernels/common/floats.cuh"

namespace wavllm::kernels {

constexpr int kElementThreads = 256;

/// Whether V neighbouring elements can be moved at once from (or to) each of these pointers.
template <int V, class... T>
static bool aligned(const T*... p) {
    return ((reinterpret_cast<uintptr_t>(p) % (V * sizeof(T)) == 0) && ...);
}

template <int V, class F>
static __global__ void __launch_bounds__(kElementThreads) elements_kernel(F f, int64_t n) {
    const int64_t i = (blockIdx.x * int64_t{kElementThreads} + threadIdx.x) * V;
    if (i + V <= n) {
        f.template at<V>(i);
    } else {
        for (int64_t j = i; j < n; ++j) f.template at<1>(j);  // the last thread's rest of fewer than V
    }
}

/// wide: whether all that f touches is aligned<4>.
template <class F>
static void launch_elements(const char* name, const F& f, int64_t n, bool wide) {
    if (n == 0) return;
    const int64_t step = kElementThreads * (wide ? 4 : 1);
    launch(wide ? elements_kernel<4, F> : elements_kernel<1, F>,
           {.grid = dim3(static_cast<unsigned>((n + step - 1) / step)), .block = kElementThreads, .name = name}, f, n);
}

template <int V, class F, class... In>
static __device__ __forceinline__ void map_values(const F& f, float* y, const In&... in) {
    Floats<V> result;
    for (int k = 0; k < V; ++k) result.v[k] = f(in.v[k]...);
    result.store(y);
}

template <int V, class F, class... In>
static __global__ void __launch_bounds__(kElementThreads) map_kernel(F f, int64_t n, float* y, const In*... in) {
    const int64_t i = (blockIdx.x * int64_t{kElementThreads} + threadIdx.x) * V;
    if (i + V <= n) {
        map_values<V>(f, y + i, Floats<V>::load(in + i)...);
    } else {
        for (int64_t j = i; j < n; ++j) map_values<1>(f, y + j, Floats<1>::load(in + j)...);
    }
}

/// y[i] = f(in[i]...) for i < n.
template <class F, class... In>
static void map(const char* name, const F& f, int64_t n, float* y, const In*... in) {
    if (n == 0) return;
    const bool wide = aligned<4>(y, in...);
    const int64_t step = kElementThreads * (wide ? 4 : 1);
    launch(wide ? map_kernel<4, F, In...> : map_kernel<1, F, In...>,
           {.grid = dim3(static_cast<unsigned>((n + step - 1) / step)), .block = kElementThreads, .name = name}, f, n,
           y, in...);
}

template <int V, class F>
static __global__ void __launch_bounds__(kElementThreads)
    cells_kernel(F f, int64_t rows, int64_t columns, unsigned column_blocks) {
    const int64_t row = blockIdx.x / column_blocks * int64_t{blockDim.y} + threadIdx.y;
    const int64_t column = (blockIdx.x % column_blocks * int64_t{blockDim.x} + threadIdx.x) * V;
    if (row < rows && column < columns) f.template at<V>(row, column);
}

/// A kernel of cells_kernel's arguments for rows of `across` threads. One row of many columns fills as much of a GPU as
/// many rows of a few: decoding has one row.
template <class Kernel, class F>
static void launch_cells_kernel(Kernel kernel, const char* name, const F& f, int64_t rows, int64_t columns,
                                int64_t across) {
    if (rows == 0 || columns == 0) return;
    const int64_t column_blocks = (across + kElementThreads - 1) / kElementThreads;
    int64_t width = 1;  // of a block: whole warps that share the columns evenly, or several short rows to a warp
    if (across >= 32)
        width = ((across + column_blocks - 1) / column_blocks + 31) / 32 * 32;
    else
        while (width < across) width *= 2;
    const int64_t height = kElementThreads / width, row_blocks = (rows + height - 1) / height;
    launch(kernel,
           {.grid = dim3(static_cast<unsigned>(row_blocks * column_blocks)),
            .block = dim3(static_cast<unsigned>(width), static_cast<unsigned>(height)),
            .name = name},
           f, rows, columns, static_cast<unsigned>(column_blocks));
}

/// wide: whether f can take W columns at once; they must then be a multiple of W.
template <int W = 4, class F>
static void launch_cells(const char* name, const F& f, int64_t rows, int64_t columns, bool wide) {
    launch_cells_kernel(wide ? cells_kernel<W, F> : cells_kernel<1, F>, name, f, rows, columns,
                        wide ? columns / W : columns);
}

/// For what can only be done one by one.
template <class F>
static void launch_ones(const char* name, const F& f, int64_t rows, int64_t columns) {
    launch_cells_kernel(cells_kernel<1, F>, name, f, rows, columns, columns);
}

/// For what can be done in fours only.
template <class F>
static void launch_fours(const char* name, const F& f, int64_t rows, int64_t columns) {
    launch_cells_kernel(cells_kernel<4, F>, name, f, rows, columns, columns / 4);
}

}  // namespace wavllm::kernels
