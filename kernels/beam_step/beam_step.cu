// Two stages: a block a beam finds its k best tokens, one after the other; then a block a request gives each candidate of
// its beams the place that follows from how many are better.

#include "kernels/beam_step/beam_step_body.h"
#include "kernels/common/elementwise.cuh"
#include "kernels/sample/weights.cuh"

namespace wavllm::kernels {

namespace {

/// In one access of 8 bytes.
__device__ __forceinline__ BeamCandidate load_candidate(const BeamCandidate* p) {
    const float2 v = *reinterpret_cast<const float2*>(p);
    return {v.x, __float_as_int(v.y)};
}

template <int V>
__global__ void __launch_bounds__(kDrawThreads) candidates_kernel(DeviceBeams b) {
    WAVLLM_SHARED(u64, partial, [kDrawWarps]);
    const int64_t row = blockIdx.x;
    const float* z = b.logits + row * b.n;
    const DeviceLogSoftmax l = log_softmax_of<V>(z, b.n, partial);
    const float so_far = b.scores[row];
    u64 last = ~u64{0};  // above all that ranked() gives
    for (int64_t i = 0; i < b.k; ++i) {
        const u64 next = max_over_row<V>(z, b.n, partial, [&](float x, int64_t v) {
            const u64 candidate = ranked(so_far + l.at(x), v);
            return candidate < last ? candidate : u64{0};
        });
        if (threadIdx.x == 0) {
            const int64_t v = index_of(next);
            *reinterpret_cast<float2*>(b.candidates + row * b.k + i) =
                next != 0 ? make_float2(so_far + l.at(z[v]), __int_as_float(static_cast<int>(v)))
                          : make_float2(-INFINITY, __int_as_float(-1));
        }
        last = next;
    }
}

/// Candidates of a beam stand best first, so their order among equal ones is that of row and token.
__global__ void __launch_bounds__(256) merge_kernel(DeviceBeams b, int32_t* parents, int32_t* tokens, float* scores) {
    const int64_t request = blockIdx.x, row0 = b.borders[request], count = (b.borders[request + 1] - row0) * b.k;
    const BeamCandidate* all = b.candidates + row0 * b.k;
    for (int64_t i = threadIdx.x; i < count; i += 256) {
        const BeamCandidate mine = load_candidate(all + i);
        if (mine.token < 0) continue;
        const uint32_t key = sort_key(mine.score);
        int64_t place = 0;
        for (int64_t j = 0; j < count; ++j) {
            const BeamCandidate other = load_candidate(all + j);
            const uint32_t other_key = sort_key(other.score);
            if (other.token >= 0 && (other_key > key || (other_key == key && j < i))) ++place;
        }
        if (place >= b.k) continue;
        parents[request * b.k + place] = static_cast<int32_t>(row0 + i / b.k);
        tokens[request * b.k + place] = mine.token;
        scores[request * b.k + place] = mine.score;
    }
}

void run(const DeviceBeams& b, int32_t* parents, int32_t* tokens, float* scores) {
    launch(b.n % 4 == 0 && aligned<4>(b.logits) ? candidates_kernel<4> : candidates_kernel<1>,
           {.grid = dim3(static_cast<unsigned>(b.rows)), .block = kDrawThreads, .name = "beam_step candidates"}, b);
    launch(merge_kernel, {.grid = dim3(static_cast<unsigned>(b.requests)), .block = 256, .name = "beam_step"}, b,
           parents, tokens, scores);
}

WAVLLM_CUDA_BODY(beam_step_body, run);

}  // namespace

}  // namespace wavllm::kernels
