#pragma once
// The launch of kernels that reduce rows: a warp a row where rows are short (eight rows a block, and no barrier), a block
// of eight warps a row where they are long. Which of both is decided by the row's length alone, and a row's sums are a
// tree of one shape, so its bits do not depend on the other rows. (Of four floats at once the tree is another than of single
// ones: whether a row can be read so is decided by its length too, unless a view begins off 16 bytes.)
//
//   struct Softmax {
//       template <int V, class Team>
//       __device__ void at(int64_t row, Team team) const {
//           for (int64_t i = team.first(V); i < d; i += team.step(V)) ...   // V neighbouring elements at i
//           total = team.sum(total);                                        // of all threads; each gets it
//       }
//   };
//   launch_rows("softmax", Softmax{x, y, d}, rows, d, wide);

#include "kernels/common/elementwise.cuh"
#include "kernels/common/reduce.cuh"

namespace wavllm::kernels {

template <int Warps>
struct RowTeam {
    float* partial;  ///< shared, a float a warp

    __device__ __forceinline__ int64_t first(int v) const {
        return static_cast<int64_t>(threadIdx.x) * v;
    }
    __device__ __forceinline__ int64_t step(int v) const {
        return 32 * Warps * v;
    }
    __device__ __forceinline__ bool is_first() const {
        return threadIdx.x == 0;
    }
    __device__ __forceinline__ float sum(float v) const {
        if constexpr (Warps == 1) return warp_sum(v);
        __syncthreads();  // some may still read the partial sums of the last call
        return block_sum(v, partial);
    }
    __device__ __forceinline__ float max(float v) const {
        if constexpr (Warps == 1) return warp_max(v);
        __syncthreads();
        return block_max(v, partial);
    }
};

template <int Warps, int V, class F>
static __global__ void __launch_bounds__(256) row_kernel(F f, int64_t rows) {
    WAVLLM_SHARED(float, partial, [Warps]);
    const int64_t row = blockIdx.x * int64_t{blockDim.y} + threadIdx.y;
    if (row < rows) f.template at<V>(row, RowTeam<Warps>{&partial[0]});  // false for whole warps only
}

/// wide: whether all rows that f touches can be read four floats at once.
template <class F>
static void launch_rows(const char* name, const F& f, int64_t rows, int64_t d, bool wide) {
    if (rows == 0) return;
    if (d <= 1024)
        launch(wide ? row_kernel<1, 4, F> : row_kernel<1, 1, F>,
               {.grid = dim3(static_cast<unsigned>((rows + 7) / 8)), .block = dim3(32, 8), .name = name}, f, rows);
    else
        launch(wide ? row_kernel<8, 4, F> : row_kernel<8, 1, F>,
               {.grid = dim3(static_cast<unsigned>(rows)), .block = dim3(256), .name = name}, f, rows);
}

}  // namespace wavllm::kernels
