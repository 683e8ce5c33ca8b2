#include "kernels/common/borders.cuh"
#include "kernels/common/chunk_sums.cuh"
#include "kernels/sum_all/sum_all_body.h"

namespace wavllm::kernels {

namespace {

struct Value {
    using Sum = float;
    const float* x;
    template <int V>
    __device__ float add(float sum, unsigned, int64_t i) const {
        const auto a = Floats<V>::load(x + i);
        for (int k = 0; k < V; ++k) sum += a.v[k];
        return sum;
    }
};

__global__ void __launch_bounds__(kSumThreads) total_kernel(const double* chunks, float* y, int64_t count) {
    WAVLLM_SHARED(double, partial, [kSumThreads / 32]);
    const double total = sum_of_chunks(chunks, count, partial);
    if (threadIdx.x == 0) *y = static_cast<float>(total);
}

struct Fill {
    const float* value;
    float* y;
    template <int V>
    __device__ void at(int64_t i) const {
        Floats<V> a;
        for (int k = 0; k < V; ++k) a.v[k] = *value;
        a.store(y + i);
    }
};

/// Of many tensors for one launch, as in adam.cu.
struct Table {
    static constexpr int kMost = 128;
    SquaresSlice slice[kMost];
    int64_t first_block[kMost + 1] = {};
    int count = 0;
};

/// In double, where squares of floats are exact and cannot overflow.
__global__ void __launch_bounds__(kSumThreads) squares_kernel(const Table table, double* chunks) {
    WAVLLM_SHARED(double, partial, [kSumThreads / 32]);
    const int64_t at = part_of(table.first_block, table.count, blockIdx.x);
    const float* x = table.slice[at].x;
    const int64_t begin = (blockIdx.x - table.first_block[at]) * kSumChunk,
                  end = min(table.slice[at].n, begin + kSumChunk);
    double sum = 0;
    for (int64_t i = begin + threadIdx.x; i < end; i += kSumThreads)
        sum = fma(static_cast<double>(x[i]), static_cast<double>(x[i]), sum);
    sum = block_sum_of_doubles(sum, partial);
    if (threadIdx.x == 0) chunks[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kSumThreads)
    squares_total_kernel(const Table table, const double* chunks, double* sums) {
    WAVLLM_SHARED(double, partial, [kSumThreads / 32]);
    const int64_t first = table.first_block[blockIdx.x], count = table.first_block[blockIdx.x + 1] - first;
    const double total = sum_of_chunks(chunks + first, count, partial);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

void forward(const float* x, double* chunks, float* y, int64_t n) {
    launch_chunk_sums("sum_all", Value{x}, chunks, n, 1, aligned<4>(x));
    launch(total_kernel, {.grid = 1, .block = kSumThreads, .name = "sum_all, total"}, chunks, y, sum_chunks(n));
}

void backward(const float* dy, float* dx, int64_t n) {
    launch_elements("sum_all backward", Fill{dy, dx}, n, aligned<4>(dx));
}

void squares(const SquaresSlice* slices, int64_t count, double* chunks, double* sums) {
    for (int64_t begin = 0; begin < count; begin += Table::kMost) {
        Table table;
        for (int64_t i = begin; i < count && table.count < Table::kMost; ++i) {
            table.slice[table.count] = slices[i];
            table.first_block[table.count + 1] = table.first_block[table.count] + sum_chunks(slices[i].n);
            ++table.count;
        }
        const int64_t blocks = table.first_block[table.count];
        if (blocks > 0)
            launch(squares_kernel,
                   {.grid = dim3(static_cast<unsigned>(blocks)), .block = kSumThreads, .name = "sum_of_squares"}, table,
                   chunks);
        launch(
            squares_total_kernel,
            {.grid = dim3(static_cast<unsigned>(table.count)), .block = kSumThreads, .name = "sum_of_squares, total"},
            table, chunks, sums + begin);
        chunks += blocks;
    }
}

WAVLLM_CUDA_BODY(sum_all_body, forward);
WAVLLM_CUDA_BODY(sum_all_backward_body, backward);
WAVLLM_CUDA_BODY(sums_of_squares_body, squares);

}  // namespace

}  // namespace wavllm::kernels
