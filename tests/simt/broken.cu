// Kernels that each make one mistake. Lines that an error must name end with a comment "<- kernel" or "<< kernel" (the
// other line that it names); broken_test.cpp looks them up.

#include <cstring>

#include "kernels/simt/cuda.h"
#include "tests/simt/kernels.h"

namespace wavllm::simt_tests {
namespace {

constexpr unsigned all = 0xffffffffu;
constexpr LaunchConfig one_warp{.grid = 1, .block = 32}, two_warps{.grid = 1, .block = 64};

// ---- order between threads ----

__global__ void missing_barrier(float* y, int) {
    WAVLLM_SHARED(float, box, [64]);
    const int t = threadIdx.x;
    box[t] = 1.0f;       // << missing_barrier
    y[t] = box[63 - t];  // <- missing_barrier
}
__global__ void missing_syncwarp(float* y, int) {
    WAVLLM_SHARED(float, box, [32]);
    const int t = threadIdx.x;
    box[t] = 1.0f;                          // << missing_syncwarp
    const float sum = box[t] + box[t ^ 1];  // <- missing_syncwarp
    y[t] = sum;
}
__global__ void second_barrier_missing(float* y, int) {
    WAVLLM_SHARED(float, box, [64]);
    const int t = threadIdx.x;
    for (int i = 0; i < 2; ++i) {
        box[t] = static_cast<float>(i);  // second_barrier_missing, in either order
        __syncthreads();
        y[64 * i + t] = box[63 - t];  // second_barrier_missing, in either order
    }
}
__global__ void race_on_shared(float* y, int) {
    WAVLLM_SHARED(float, last);
    last = static_cast<float>(threadIdx.x);  // <- race_on_shared << race_on_shared
    __syncthreads();
    y[threadIdx.x] = last;
}
__global__ void race_on_global(float* y, int) {
    y[threadIdx.x / 2] = 1.0f;  // <- race_on_global << race_on_global
}
__global__ void race_of_halves(float* y, int) {
    __nv_bfloat16* h = reinterpret_cast<__nv_bfloat16*>(y);
    h[threadIdx.x % 16] = __float2bfloat16(1.0f);  // <- race_of_halves << race_of_halves
}
__global__ void race_between_blocks(float* y, int) {
    y[threadIdx.x] = 1.0f;  // <- race_between_blocks << race_between_blocks
}
__global__ void atomic_and_plain(float* y, int) {
    if (threadIdx.x == 0) y[0] = 0.0f;  // atomic_and_plain, in either order
    atomicAdd(&y[0], 1.0f);             // atomic_and_plain, in either order
}
__global__ void divergent_barrier(float* y, int) {
    if (threadIdx.x < 40) {
        y[threadIdx.x] = 1.0f;
        __syncthreads();  // divergent_barrier, in either order
    } else {
        y[threadIdx.x] = 2.0f;
        __syncthreads();  // divergent_barrier, in either order
    }
}
__global__ void barrier_and_shuffle(float* y, int) {
    if (threadIdx.x == 3) __syncthreads();       // << barrier_and_shuffle
    y[threadIdx.x] = __shfl_sync(all, 1.0f, 0);  // <- barrier_and_shuffle
}
__global__ void named_barrier_too_few(float* y, int) {
    if (threadIdx.x < 32) named_barrier_sync(2, 64);  // <- named_barrier_too_few
    y[threadIdx.x] = 1.0f;
}

// ---- warps ----

__global__ void shuffle_from_exited(float* y, int) {
    if (threadIdx.x >= 16) return;
    y[threadIdx.x] = __shfl_sync(all, 1.0f, 20);  // <- shuffle_from_exited
}
__global__ void mask_without_self(float* y, int) {
    y[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 0);  // <- mask_without_self
}
__global__ void masks_differ(float* y, int) {
    const unsigned mask = threadIdx.x == 0 ? 0xffffu : all;
    y[threadIdx.x] = __shfl_sync(mask, 1.0f, 0);  // <- masks_differ << masks_differ
}
__global__ void operations_differ(float* y, int) {
    y[threadIdx.x] = 0.0f;
    if (threadIdx.x == 0)
        __syncwarp();  // operations_differ, in either order
    else
        y[threadIdx.x] = __shfl_sync(all, 1.0f, 0);  // operations_differ, in either order
}
__global__ void source_not_in_mask(float* y, int) {
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 20);  // <- source_not_in_mask
}
__global__ void lane_does_not_exist(float* y, int) {
    const float v = __shfl_down_sync(all, 1.0f, 1);  // <- lane_does_not_exist
    y[threadIdx.x] = v;
}
__global__ void odd_width(float* y, int) {
    y[threadIdx.x] = __shfl_sync(all, 1.0f, 0, 12);  // <- odd_width
}
__global__ void mma_in_half_a_warp(float* y, int) {
    float d[4] = {0, 0, 0, 0};
    const uint32_t a[4] = {0, 0, 0, 0}, b[2] = {0, 0};
    if (threadIdx.x >= 16) return;
    mma_m16n8k16_bf16(d, a, b);  // <- mma_in_half_a_warp
    y[threadIdx.x] = d[0];
}

// ---- memory ----

__global__ void shared_read_beyond(float* y, int n) {
    WAVLLM_SHARED(float, box, [32]);
    box[threadIdx.x] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = box[threadIdx.x + n];  // <- shared_read_beyond
}
__global__ void shared_write_beyond(float* y, int n) {
    WAVLLM_SHARED(float, box, [32]);
    box[threadIdx.x + n] = 1.0f;  // <- shared_write_beyond
    __syncthreads();
    y[threadIdx.x] = box[threadIdx.x];
}
__global__ void shared_before(float* y, int n) {
    WAVLLM_SHARED(float, left, [32]);
    WAVLLM_SHARED(float, right, [32]);
    left[threadIdx.x] = right[threadIdx.x] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = left[threadIdx.x] + right[static_cast<int>(threadIdx.x) - n];  // <- shared_before
}
__global__ void global_read_beyond(float* y, int n) {
    const float v = y[threadIdx.x * 2 + n - 62];  // <- global_read_beyond
    y[threadIdx.x] = v;
}
__global__ void global_write_beyond(float* y, int n) {
    y[threadIdx.x + n - 31] = 1.0f;  // <- global_write_beyond
}
__global__ void half_beyond(float* y, int n) {
    reinterpret_cast<__nv_bfloat16*>(y)[threadIdx.x + 2 * n - 31] = __float2bfloat16(1.0f);  // <- half_beyond
}
__global__ void global_before(float* y, int n) {
    y[static_cast<int>(threadIdx.x) - n] = 1.0f;  // <- global_before
}
__global__ void unwritten_shared(float* y, int) {
    WAVLLM_SHARED(float, box, [32]);
    if (threadIdx.x < 31) box[threadIdx.x] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = box[threadIdx.x];  // <- unwritten_shared
}
__global__ void stale_shared(float* y, int) {
    WAVLLM_SHARED(float, box, [32]);
    if (blockIdx.x == 0) box[threadIdx.x] = 1.0f;  // the second block may not find what the first one left
    __syncthreads();
    y[blockIdx.x * 32 + threadIdx.x] = box[threadIdx.x];  // <- stale_shared
}
__global__ void unwritten_global(float* y, int n) {
    y[threadIdx.x] = y[n - 1];  // <- unwritten_global
}
__global__ void use_after_free(float* y, int) {
    y[threadIdx.x] = 1.0f;  // <- use_after_free
}
__global__ void dynamic_too_small(float* y, int n) {
    WAVLLM_DYNAMIC_SHARED(float, box);
    for (int i = threadIdx.x; i < n; i += 32) box[i] = 1.0f;  // <- dynamic_too_small
    __syncthreads();
    y[threadIdx.x] = box[threadIdx.x];
}
__global__ void dynamic_missing(float* y, int) {
    WAVLLM_DYNAMIC_SHARED(float, box);  // <- dynamic_missing
    box[threadIdx.x] = 1.0f;
    y[threadIdx.x] = box[threadIdx.x];
}
__global__ void static_too_large(float* y, int) {
    WAVLLM_SHARED(float, box, [49 * 256]);
    box[threadIdx.x] = 1.0f;
    y[threadIdx.x] = box[threadIdx.x];
}
__global__ void misaligned_vector(float* y, int) {
    const float4 v = *reinterpret_cast<const float4*>(y + 1);  // <- misaligned_vector
    y[threadIdx.x] = v.x;
}
__global__ void host_pointer(float* y, int, const float* host) {
    y[threadIdx.x] = host[threadIdx.x];  // <- host_pointer
}
__global__ void null_pointer(float* y, int) {
    float* nothing = y == nullptr ? y : nullptr;
    nothing[threadIdx.x] = 1.0f;  // <- null_pointer
}
__global__ void others_local(float* y, int) {
    WAVLLM_SHARED(float*, address);
    float mine[2] = {1.0f, 2.0f};
    if (threadIdx.x == 0) address = mine;
    __syncthreads();
    y[threadIdx.x] = address[threadIdx.x % 2];  // <- others_local
    __syncthreads();
    y[threadIdx.x] += mine[0];
}
__device__ __noinline__ float deep(float* y, int n) {
    float local[64];
    for (int i = 0; i < 64; ++i) local[i] = y[0] + static_cast<float>(i);
    return n == 0 ? local[5] : deep(local, n - 1) + local[n % 64];
}
__global__ void stack_used_up(float* y, int n) {
    y[threadIdx.x] = deep(y, n + 100000);
}
__global__ void failed_assert(float* y, int n) {
    y[threadIdx.x] = 1.0f;
    assert(n < 0);  // <- failed_assert
}

// ---- asynchronous copies ----

__global__ void copy_not_waited_for(float* y, int) {
    WAVLLM_SHARED(float, box, [32]);
    cp_async<4>(&box[threadIdx.x], y + threadIdx.x);
    cp_async_commit();
    __syncthreads();
    y[threadIdx.x] = box[threadIdx.x];  // <- copy_not_waited_for
}
__global__ void copy_without_barrier(float* y, int) {
    WAVLLM_SHARED(float, box, [64]);
    cp_async<4>(&box[threadIdx.x], y + threadIdx.x);  // << copy_without_barrier
    cp_async_commit();
    cp_async_wait<0>();
    y[threadIdx.x] = box[63 - threadIdx.x];  // <- copy_without_barrier
}
__global__ void copy_into_read_buffer(float* y, int) {
    WAVLLM_SHARED(float, box, [64]);
    box[threadIdx.x] = 1.0f;
    __syncthreads();
    y[threadIdx.x] += box[63 - threadIdx.x];               // copy_into_read_buffer, in either order
    cp_async<4>(&box[threadIdx.x], y + 64 + threadIdx.x);  // copy_into_read_buffer, in either order
    cp_async_commit();
    cp_async_wait<0>();
}

struct Case {
    const char* name;
    void (*run)(float* memory, int n);
};
#define CASE(kernel, config)                                                     \
    {                                                                            \
#kernel, [](float* memory, int n) { launch(kernel, config, memory, n); } \
    }
const Case cases[] = {
    CASE(missing_barrier, two_warps),
    CASE(missing_syncwarp, one_warp),
    CASE(second_barrier_missing, two_warps),
    CASE(race_on_shared, one_warp),
    CASE(race_on_global, one_warp),
    CASE(race_of_halves, one_warp),
    CASE(race_between_blocks, (LaunchConfig{.grid = 2, .block = 32})),
    CASE(atomic_and_plain, one_warp),
    CASE(divergent_barrier, two_warps),
    CASE(barrier_and_shuffle, one_warp),
    CASE(named_barrier_too_few, two_warps),
    CASE(shuffle_from_exited, one_warp),
    CASE(mask_without_self, one_warp),
    CASE(masks_differ, one_warp),
    CASE(operations_differ, one_warp),
    CASE(source_not_in_mask, one_warp),
    CASE(lane_does_not_exist, (LaunchConfig{.grid = 1, .block = 48})),
    CASE(odd_width, one_warp),
    CASE(mma_in_half_a_warp, one_warp),
    CASE(shared_read_beyond, one_warp),
    CASE(shared_write_beyond, one_warp),
    CASE(shared_before, one_warp),
    CASE(global_read_beyond, one_warp),
    CASE(global_write_beyond, one_warp),
    CASE(half_beyond, one_warp),
    CASE(global_before, one_warp),
    CASE(unwritten_shared, one_warp),
    CASE(stale_shared, (LaunchConfig{.grid = 2, .block = 32})),
    CASE(unwritten_global, one_warp),
    CASE(use_after_free, one_warp),
    CASE(dynamic_too_small, (LaunchConfig{.grid = 1, .block = 32, .shared_bytes = 64 * sizeof(float)})),
    CASE(dynamic_missing, one_warp),
    CASE(static_too_large, one_warp),
    CASE(misaligned_vector, one_warp),
    {"host_pointer",
     [](float* memory, int n) {
         const float host[32] = {};
         launch(host_pointer, one_warp, memory, n, host);
     }},
    CASE(null_pointer, one_warp),
    CASE(others_local, one_warp),
    CASE(stack_used_up, one_warp),
    CASE(failed_assert, one_warp),
    CASE(copy_not_waited_for, one_warp),
    CASE(copy_without_barrier, two_warps),
    CASE(copy_into_read_buffer, two_warps),
};
// Launches that no GPU takes.
const Case launches[] = {
    {"2048 threads", [](float* m, int n) { launch(use_after_free, {.grid = 1, .block = 2048}, m, n); }},
    {"no blocks", [](float* m, int n) { launch(use_after_free, {.grid = 0, .block = 32}, m, n); }},
    {"200 KiB shared",
     [](float* m, int n) { launch(use_after_free, {.grid = 1, .block = 32, .shared_bytes = 200 << 10}, m, n); }},
    {"grid of 70000 in y",
     [](float* m, int n) { launch(use_after_free, {.grid = dim3(1, 70000), .block = 32}, m, n); }},
};

void broken_launch(const char* which, float* memory, int n) {
    for (const Case& c : cases)
        if (std::strcmp(c.name, which) == 0) return c.run(memory, n);
    for (const Case& c : launches)
        if (std::strcmp(c.name, which) == 0) return c.run(memory, n);
}
WAVLLM_CUDA_BODY(broken, broken_launch);

}  // namespace
}  // namespace wavllm::simt_tests
