// CTC in three kernels: softmax of every row and the logits that its target needs (parallel over rows), the walk along the
// lattice and back (a block a sequence, a thread a position; this is a chain of rows, so all it waits for is kept short),
// and what is taken from the gradient (parallel over rows).

#include "kernels/common/elementwise.cuh"
#include "kernels/common/log_sum.cuh"
#include "kernels/ctc_loss/ctc_loss_body.h"
#include "kernels/ctc_loss/wide.cuh"

namespace wavllm::kernels {

namespace {

constexpr int kRowThreads = 256, kTakeThreads = 128;
constexpr double kLog2E = 1.44269504088896340736, kLn2 = 0.693147180559945309417;

/// The sequence that a row belongs to: the last that begins at or before it and is not empty.
__device__ __forceinline__ int64_t sequence_of(const DeviceCtc& a, int64_t row) {
    int64_t low = 0, high = a.sequences;
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        (a.plan[middle].row <= row ? low : high) = middle;
    }
    return low;
}

template <int V>
__global__ void ctc_softmax_kernel(DeviceCtc a) {
    WAVLLM_SHARED(float, maxima, [kRowThreads / 32]);
    WAVLLM_SHARED(double, sums, [kRowThreads / 32]);
    const int64_t row = blockIdx.x, n = a.classes;
    const DeviceCtcSequence s = a.plan[sequence_of(a, row)];
    const float *z = a.token_logits + row * n, blank = a.blank_logits[row];
    float* out = a.dtokens != nullptr ? a.dtokens + row * n : nullptr;
    if (s.gathered < 0) {
        if (out == nullptr) return;
        for (int64_t i = threadIdx.x * V; i < n; i += kRowThreads * V) Floats<V>{}.store(out + i);
        if (threadIdx.x == 0) a.dblank[row] = 0;
        return;
    }
    MaxSum mine;
    mine.max = fmaxf(mine.max, blank);  // of all threads, and finite if blank is -inf; its exponential comes at the end
    for (int64_t i = threadIdx.x * V; i < n; i += kRowThreads * V) mine.add(Floats<V>::load(z + i));
    const BlockMaxSum all = block_max_sum(mine, maxima, sums);
    const double total = all.sum + expf(blank - all.max);
    if (threadIdx.x == 0) a.shift[row] = all.max * kLog2E + log2(total);
    float* gathered = a.gathered + s.gathered + (row - s.row) * s.length;
    for (int64_t j = threadIdx.x; j < s.length; j += kRowThreads) gathered[j] = z[a.targets[s.target + j]];
    if (out == nullptr) return;
    const auto factor = static_cast<float>(a.scale / total);
    for (int64_t i = threadIdx.x * V; i < n; i += kRowThreads * V) {
        auto x = Floats<V>::load(z + i);
#pragma unroll
        for (int k = 0; k < V; ++k) x.v[k] = expf(x.v[k] - all.max) * factor;
        x.store(out + i);
    }
    if (threadIdx.x == 0) a.dblank[row] = expf(blank - all.max) * factor;
}

/// A row of the lattice as in ctc_loss.cpp: blank j stands before token j, after the last one for j = length.
struct Row {
    double* m;
    int64_t *e, width;
    __device__ __forceinline__ WideNumber blank(int64_t j) const {
        return {m[j], e[j]};
    }
    __device__ __forceinline__ WideNumber token(int64_t j) const {  // 0 <= j < length
        return {m[width + j], e[width + j]};
    }
    __device__ __forceinline__ void put_blank(int64_t j, WideNumber w) const {
        m[j] = w.m;
        e[j] = w.e;
    }
    __device__ __forceinline__ void put_token(int64_t j, WideNumber w) const {
        m[width + j] = w.m;
        e[width + j] = w.e;
    }
};

/// What a block of the walk knows.
struct Walk {
    DeviceCtcSequence s;
    const float *gathered, *blank_logits;
    const int32_t* targets;
    const double* shift;
    double* exchange_m;
    int64_t* exchange_e;

    __device__ __forceinline__ int64_t width() const {
        return s.length + 1;
    }
    __device__ __forceinline__ Row exchange(int64_t t) const {
        return {exchange_m + t % 2 * 2 * width(), exchange_e + t % 2 * 2 * width(), width()};
    }
    __device__ __forceinline__ WideNumber y_blank(int64_t t) const {
        return wide_exp2(blank_logits[s.row + t] * kLog2E - shift[s.row + t]);
    }
    __device__ __forceinline__ WideNumber y_token(int64_t t, int64_t j) const {
        return wide_exp2(gathered[t * s.length + j] * kLog2E - shift[s.row + t]);
    }
    /// Token j may follow token j - 1 without a blank between.
    __device__ __forceinline__ bool may_skip(int64_t j) const {
        return j > 0 && j < s.length && targets[j] != targets[j - 1];
    }
};

/// Row t of alpha (eq. 6 and 7) from the row before it.
__device__ void alpha_row(const Walk& w, int64_t t, const Row* history) {
    const Row before = w.exchange(t), now = w.exchange(t + 1);
    const WideNumber y_blank = w.y_blank(t);
    for (int64_t j = threadIdx.x; j < w.width(); j += blockDim.x) {
        const WideNumber blank = before.blank(j), previous = j > 0 ? before.token(j - 1) : wide_zero();
        const WideNumber b = multiply(add(blank, previous), y_blank);
        now.put_blank(j, b);
        if (history != nullptr) history->put_blank(j, b);
        if (j == w.s.length) continue;
        const WideNumber skipped = w.may_skip(j) ? previous : wide_zero();
        const WideNumber c = multiply(add(before.token(j), blank, skipped), w.y_token(t, j));
        now.put_token(j, c);
        if (history != nullptr) history->put_token(j, c);
    }
}

/// Row t of beta (eq. 10 and 11), times the row's y, into the exchange; the occupancies over the row of alpha.
__device__ void beta_row(const Walk& w, int64_t t, WideNumber p, const Row& history) {
    const Row after = w.exchange(t + 1), now = w.exchange(t);
    const bool last = t == w.s.rows - 1;
    const int64_t n = w.s.length;
    const WideNumber y_blank = w.y_blank(t);
    for (int64_t j = threadIdx.x; j <= n; j += blockDim.x) {
        WideNumber blank, token = wide_zero();
        if (last) {
            blank = j == n ? wide_one() : wide_zero();
            if (j == n - 1) token = wide_one();
        } else {
            const WideNumber own = j < n ? after.token(j) : wide_zero();
            blank = add(after.blank(j), own);
            if (j < n) token = add(own, after.blank(j + 1), w.may_skip(j + 1) ? after.token(j + 1) : wide_zero());
        }
        history.m[j] = ratio(history.blank(j), blank, p);
        now.put_blank(j, multiply(blank, y_blank));
        if (j == n) continue;
        history.m[history.width + j] = ratio(history.token(j), token, p);
        now.put_token(j, multiply(token, w.y_token(t, j)));
    }
}

__global__ void ctc_walk_kernel(DeviceCtc a, bool in_shared) {
    const DeviceCtcSequence s = a.plan[blockIdx.x];
    if (s.gathered < 0) return;
    const int64_t width = s.length + 1;
    Walk w{s, a.gathered + s.gathered, a.blank_logits, a.targets + s.target, a.shift, nullptr, nullptr};
    if (in_shared) {
        WAVLLM_DYNAMIC_SHARED(double, shared);
        w.exchange_m = shared;
        w.exchange_e = reinterpret_cast<int64_t*>(shared + 4 * width);
    } else {
        w.exchange_m = a.lattice_m + s.exchange;
        w.exchange_e = a.lattice_e + s.exchange;
    }
    const bool keep = a.dtokens != nullptr;
    const auto history = [&](int64_t t) {
        return Row{a.lattice_m + s.history + t * 2 * width, a.lattice_e + s.history + t * 2 * width, width};
    };
    // Wide numbers carry no NaN: a denominator that is none is looked for beforehand.
    int finite = 1;
    for (int64_t t = threadIdx.x; t < s.rows; t += blockDim.x) finite &= isfinite(a.shift[s.row + t]) ? 1 : 0;
    for (int64_t j = threadIdx.x; j < width; j += blockDim.x) {
        w.exchange(0).put_blank(j, j == 0 ? wide_one() : wide_zero());  // nothing emitted yet, at the first blank
        if (j < s.length) w.exchange(0).put_token(j, wide_zero());
    }
    finite = __syncthreads_and(finite);
    if (!finite) {
        if (threadIdx.x == 0) a.losses[blockIdx.x] = NAN;
        return;
    }
    for (int64_t t = 0; t < s.rows; ++t) {
        const Row kept = keep ? history(t) : Row{};
        alpha_row(w, t, keep ? &kept : nullptr);
        __syncthreads();
    }
    const Row end = w.exchange(s.rows);
    const WideNumber p = add(end.blank(s.length), s.length > 0 ? end.token(s.length - 1) : wide_zero());  // eq. 8
    const bool possible = p.e > kWideZero / 2;
    if (threadIdx.x == 0)
        a.losses[blockIdx.x] = possible ? static_cast<float>(-(static_cast<double>(p.e) + log2(p.m)) * kLn2) : INFINITY;
    if (!keep || !possible) return;
    __syncthreads();  // all have read p
    for (int64_t t = s.rows - 1; t >= 0; --t) {
        beta_row(w, t, p, history(t));
        __syncthreads();
    }
}

/// Targets of the same token are one chain: the thread of the first one takes all their occupancies, in order.
__global__ void ctc_links_kernel(DeviceCtc a) {
    const DeviceCtcSequence s = a.plan[blockIdx.x];
    const int32_t* targets = a.targets + s.target;
    for (int64_t j = threadIdx.x; j < s.length; j += blockDim.x) {
        int64_t before = 0, next = j + 1;
        while (before < j && targets[before] != targets[j]) ++before;
        while (next < s.length && targets[next] != targets[j]) ++next;
        a.links[s.target + j] = next < s.length ? static_cast<int32_t>(next) : -1;
        a.links[a.target_count + s.target + j] = before == j ? 1 : 0;
    }
}

/// Takes scale * occupancy from the gradient, which holds scale * y.
__global__ void ctc_take_kernel(DeviceCtc a) {
    const int64_t row = blockIdx.x, index = sequence_of(a, row);
    const DeviceCtcSequence s = a.plan[index];
    if (s.gathered < 0) return;
    float* dtokens = a.dtokens + row * a.classes;
    if (!isfinite(a.losses[index])) {
        for (int64_t i = threadIdx.x; i < a.classes; i += kTakeThreads) dtokens[i] = NAN;
        if (threadIdx.x == 0) a.dblank[row] = NAN;
        return;
    }
    const double *blanks = a.lattice_m + s.history + (row - s.row) * 2 * (s.length + 1),
                 *tokens = blanks + s.length + 1;
    const int32_t *next = a.links + s.target, *first = next + a.target_count;
    for (int64_t j = threadIdx.x; j < s.length; j += kTakeThreads) {
        if (first[j] == 0) continue;
        float& gradient = dtokens[a.targets[s.target + j]];
        float left = gradient;
        for (int64_t k = j; k >= 0; k = next[k]) left -= static_cast<float>(tokens[k] * a.scale);
        gradient = left;
    }
    if (threadIdx.x >= 32) return;
    double sum = 0;
    for (int64_t j = threadIdx.x; j <= s.length; j += 32) sum += blanks[j];
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    if (threadIdx.x == 0) a.dblank[row] -= static_cast<float>(sum * a.scale);
}

void ctc(const DeviceCtc& a) {
    const auto blocks = [](int64_t n) { return dim3(static_cast<unsigned>(n)); };
    if (a.rows > 0)
        launch(
            a.classes % 4 == 0 && aligned<4>(a.token_logits, a.dtokens) ? ctc_softmax_kernel<4> : ctc_softmax_kernel<1>,
            {.grid = blocks(a.rows), .block = kRowThreads, .name = "ctc_loss softmax"}, a);
    const int64_t threads = (a.longest + 1 + 31) / 32 * 32;
    const bool in_shared = a.longest <= kCtcSharedTargets;
    launch(ctc_walk_kernel,
           {.grid = blocks(a.sequences),
            .block = dim3(static_cast<unsigned>(threads < 512 ? threads : 512)),
            .shared_bytes = in_shared ? static_cast<size_t>(8 * (a.longest + 1)) * sizeof(double) : 0,
            .name = "ctc_loss walk"},
           a, in_shared);
    if (a.dtokens == nullptr || a.rows == 0) return;
    launch(ctc_links_kernel, {.grid = blocks(a.sequences), .block = 128, .name = "ctc_loss links"}, a);
    launch(ctc_take_kernel, {.grid = blocks(a.rows), .block = kTakeThreads, .name = "ctc_loss occupancies"}, a);
}

WAVLLM_CUDA_BODY(ctc_loss_body, ctc);

}  // namespace

}  // namespace wavllm::kernels
