// A block a row, without sorting: the cuts of top_k and top_p are found bit by bit, each bit with one sum over the row,
// which stays in the L2 cache. Sums are of integers, so their order is nobody's business.

#include "kernels/common/elementwise.cuh"
#include "kernels/sample/sample_body.h"
#include "kernels/sample/weights.cuh"

namespace wavllm::kernels {

namespace {

/// The largest key t for which the sum over the logits with keys of at least t is at least `target`; the sum for 0 must be.
template <int V, class F>
__device__ uint32_t cut_where(const float* z, int64_t n, u64 target, u64* partial, const F& measure) {
    uint32_t t = 0;
    for (uint32_t bit = 0x80000000u; bit != 0; bit >>= 1) {
        const uint32_t trial = t | bit;
        const u64 sum = sum_over_row<V>(z, n, partial,
                                        [&](float x, int64_t) { return sort_key(x) >= trial ? measure(x) : u64{0}; });
        if (sum >= target) t = trial;
    }
    return t;
}

/// The first index at which the sum of f over the logits up to it is above `place`, for the warps of a block: each adds up
/// a part of the row, and the one whose part it is walks there. found: shared.
template <class F>
__device__ int64_t find_place(const float* z, int64_t n, u64 place, u64* partial, int* found, const F& f) {
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    const int64_t part = ((n + kDrawWarps - 1) / kDrawWarps + 31) / 32 * 32;
    const int64_t begin = warp * part, end = min(n, begin + part);
    u64 sum = 0;
    for (int64_t i = begin + lane; i < end; i += 32) sum += f(z[i]);
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    __syncthreads();  // some may still read the last sums
    if (lane == 0) partial[warp] = sum;
    __syncthreads();
    u64 before = 0;
    for (int i = 0; i < warp; ++i) before += partial[i];
    if (before <= place && place < before + sum) {  // the same for all lanes, and true for one warp
        for (int64_t i = begin; i < end; i += 32) {
            u64 upto = i + lane < end ? f(z[i + lane]) : 0;
            for (int distance = 1; distance < 32; distance *= 2) {
                const u64 other = __shfl_up_sync(0xffffffffu, upto, static_cast<unsigned>(distance));
                if (lane >= distance) upto += other;
            }
            const unsigned above = __ballot_sync(0xffffffffu, before + upto > place ? 1 : 0);
            if (above != 0) {
                if (lane == 0) *found = static_cast<int>(i) + __ffs(static_cast<int>(above)) - 1;
                break;
            }
            before += __shfl_sync(0xffffffffu, upto, 31);
        }
    }
    __syncthreads();
    return *found;
}

template <int V>
__global__ void __launch_bounds__(kDrawThreads) sample_kernel(DeviceSampling s, int32_t* ids, float* log_probs) {
    WAVLLM_SHARED(u64, partial, [kDrawWarps]);
    WAVLLM_SHARED(int, found);
    const int64_t row = blockIdx.x, n = s.n;
    const float* z = s.logits + row * n;
    const DeviceLogSoftmax l = log_softmax_of<V>(z, n, partial);
    if (!isfinite(l.largest)) {
        if (threadIdx.x == 0) {
            ids[row] = -1;
            log_probs[row] = __int_as_float(0x7fc00000);
        }
        return;
    }
    int64_t id = l.first_largest;
    if (s.inverse_temperature > 0) {
        const auto weight = [&](float x) { return weight_of((x - l.largest) * s.inverse_temperature); };
        uint32_t cut = 0;
        if (s.top_k > 0 && s.top_k < n)
            cut = cut_where<V>(z, n, static_cast<u64>(s.top_k), partial, [](float) { return u64{1}; });
        const auto kept = [&](float x) { return sort_key(x) >= cut ? weight(x) : u64{0}; };
        const auto total_kept = [&] {
            return sum_over_row<V>(z, n, partial, [&](float x, int64_t) { return kept(x); });
        };
        u64 total = total_kept();
        if (s.top_p < 1) {
            // at least the cut of top_k: with less than that the sum is still the whole
            cut = cut_where<V>(z, n, nucleus_target(s.top_p, total), partial, kept);
            total = total_kept();
        }
        const u64 bits = draw_bits(s.seed, s.purpose, static_cast<uint64_t>(s.requests[row]),
                                   static_cast<uint32_t>(s.positions[row]));
        id = find_place(z, n, __umul64hi(bits, total), partial, &found, kept);
    }
    if (threadIdx.x != 0) return;
    ids[row] = static_cast<int32_t>(id);
    log_probs[row] = l.at(z[id]);
}

void run(const DeviceSampling& s, int32_t* ids, float* log_probs) {
    launch(s.n % 4 == 0 && aligned<4>(s.logits) ? sample_kernel<4> : sample_kernel<1>,
           {.grid = dim3(static_cast<unsigned>(s.rows)), .block = kDrawThreads, .name = "sample"}, s, ids, log_probs);
}

WAVLLM_CUDA_BODY(sample_body, run);

}  // namespace

}  // namespace wavllm::kernels
