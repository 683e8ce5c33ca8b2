// Three kernels: spectra and mel energies with the loudest of each block, the loudest of all, the range of eight powers
// of ten below it. As on the CPU (log_mel.cpp) the transform is a product with fixed matrices in double, folded twice.

#include "kernels/common/reduce.cuh"
#include "kernels/log_mel/log_mel_body.h"

namespace wavllm::kernels {

namespace {

constexpr int kThreads = 128, kFrames = static_cast<int>(kMelFramesTogether);
constexpr int kFft = 400, kHalf = 200, kQuarter = 100, kBins = 201, kHop = 160;
constexpr float kFloor = -10, kRange = 8;

__device__ __forceinline__ double sample(const LogMel& p, int64_t i) {
    i = i < 0 ? -i : i;
    i = i >= p.length ? 2 * (p.length - 1) - i : i;
    return i < p.n ? static_cast<double>(p.samples[i]) : 0.0;
}

__device__ __forceinline__ double warp_sum(double v) {
    for (int distance = 16; distance > 0; distance /= 2) v += __shfl_xor_sync(0xffffffffu, v, distance);
    return v;
}

__global__ void __launch_bounds__(kThreads) log_mel_kernel(LogMel p) {
    // e[n] = x[n] + x[400 - n] and o[n] = x[n] - x[400 - n] of the windowed frames, then their power
    WAVLLM_SHARED(double, even, [kFrames][kBins]);
    WAVLLM_SHARED(double, odd, [kFrames][kBins]);
    WAVLLM_SHARED(double, power, [kFrames][kBins]);
    WAVLLM_SHARED(float, partial, [kThreads / 32]);
    const int64_t first = blockIdx.x * int64_t{kFrames};
    for (int n = static_cast<int>(threadIdx.x); n <= kHalf; n += kThreads) {
        const bool single = n == 0 || n == kHalf;
        const double wa = p.window[n], wb = single ? 0.0 : p.window[kFft - n];
        for (int i = 0; i < kFrames; ++i) {
            const int64_t start = (first + i) * kHop - kHalf;
            const bool there = first + i < p.frames;
            const double a = there ? wa * sample(p, start + n) : 0.0;
            const double b = there && !single ? wb * sample(p, start + kFft - n) : 0.0;
            even[i][n] = a + b;
            odd[i][n] = single ? 0.0 : a - b;
        }
    }
    __syncthreads();
    const int f = static_cast<int>(threadIdx.x);
    if (f <= kQuarter) {
        double ce[kFrames] = {}, co[kFrames] = {}, se[kFrames] = {}, so[kFrames] = {};
        for (int n = 0; n <= kHalf; n += 2) {  // sums over even and over odd n
            const double c0 = p.cosine[n * kMelTableFrequencies + f], s0 = p.sine[n * kMelTableFrequencies + f];
#pragma unroll
            for (int i = 0; i < kFrames; ++i) {
                ce[i] = fma(c0, even[i][n], ce[i]);
                se[i] = fma(s0, odd[i][n], se[i]);
            }
            if (n == kHalf) break;
            const double c1 = p.cosine[(n + 1) * kMelTableFrequencies + f],
                         s1 = p.sine[(n + 1) * kMelTableFrequencies + f];
#pragma unroll
            for (int i = 0; i < kFrames; ++i) {
                co[i] = fma(c1, even[i][n + 1], co[i]);
                so[i] = fma(s1, odd[i][n + 1], so[i]);
            }
        }
#pragma unroll
        for (int i = 0; i < kFrames; ++i) {
            const double re = ce[i] + co[i], im = se[i] + so[i], far_re = ce[i] - co[i], far_im = so[i] - se[i];
            power[i][f] = re * re + im * im;
            if (f != kQuarter) power[i][kHalf - f] = far_re * far_re + far_im * far_im;
        }
    }
    __syncthreads();
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    float loudest = kFloor;
    for (int64_t m = warp; m < p.mels; m += kThreads / 32) {  // a warp has a filter, its lanes the frequencies
        double energy[kFrames] = {};
        for (int i = lane; i < kBins; i += 32) {
            const auto w = static_cast<double>(p.filters[m * kBins + i]);
#pragma unroll
            for (int k = 0; k < kFrames; ++k) energy[k] = fma(w, power[k][i], energy[k]);
        }
#pragma unroll
        for (int k = 0; k < kFrames; ++k) {
            const double all = warp_sum(energy[k]);
            const auto e = static_cast<float>(all);
            const int64_t frame = first + k;
            if (frame >= p.frames) continue;
            const float v = frame < p.silent && e > 1e-10f ? log10f(e) : kFloor;
            if (lane == 0) p.y[frame * p.mels + m] = v;
            loudest = fmaxf(loudest, v);
        }
    }
    loudest = block_max(loudest, partial);
    if (threadIdx.x == 0) p.loudest[1 + blockIdx.x] = loudest;
}

__global__ void loudest_kernel(float* loudest, int64_t n) {
    WAVLLM_SHARED(float, partial, [kThreads / 32]);
    float v = kFloor;
    for (int64_t i = threadIdx.x; i < n; i += kThreads) v = fmaxf(v, loudest[1 + i]);
    v = block_max(v, partial);
    if (threadIdx.x == 0) loudest[0] = v;
}

__global__ void range_kernel(const float* loudest, float* y, int64_t n) {
    const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
    if (i < n) y[i] = (fmaxf(y[i], loudest[0] - kRange) + 4) / 4;
}

void log_mel(const LogMel& p) {
    const int64_t blocks = (p.frames + kFrames - 1) / kFrames, n = p.frames * p.mels;
    if (n == 0) return;
    launch(log_mel_kernel, {.grid = dim3(static_cast<unsigned>(blocks)), .block = kThreads, .name = "log_mel"}, p);
    launch(loudest_kernel, {.grid = 1, .block = kThreads, .name = "log_mel loudest"}, p.loudest, blocks);
    launch(range_kernel,
           {.grid = dim3(static_cast<unsigned>((n + kThreads - 1) / kThreads)),
            .block = kThreads,
            .name = "log_mel range"},
           p.loudest, p.y, n);
}

WAVLLM_CUDA_BODY(log_mel_body, log_mel);

}  // namespace

}  // namespace wavllm::kernels
