// The product in f32: tiles in shared memory, 8 x 8 results a thread in registers, the next slice of the factors on its
// way from global memory while this one is multiplied. (steps/ has the simpler kernels that lead here.)
//
// A warp has 32 x 64 results, its lanes in 4 rows of 8; a lane's 8 rows and columns are two groups of four, 16 rows and
// 32 columns apart, so that its warp's reads of shared memory are whole rows of banks. Slices stand k by k; the columns of
// steps 4 to 7 are permuted by xor with 16: a factor stored along the chain is written transposed, four steps a lane, and
// would meet in 16 banks otherwise.

#include "kernels/common/dropout_mask.cuh"
#include "kernels/common/floats.cuh"
#include "kernels/gemm/lines.cuh"

namespace wavllm::kernels {

namespace {

constexpr int kDepth = 8;  // of a slice: 32 bytes of a line, one sector

/// A factor and the part of it that a block reads.
struct Part {
    Lines lines;
    int64_t first, end;  ///< rows (of the left factor) or columns (of the right one)
    bool wide;           ///< four floats a load
};

/// Columns [column, column + 4) of a line, zeros where the line has none.
__device__ __forceinline__ Floats<4> fetch(const Part& p, int64_t line, int64_t lines, int64_t column,
                                           int64_t columns) {
    Floats<4> v{{0, 0, 0, 0}};
    if (line >= lines) return v;
    const float* from = static_cast<const float*>(p.lines.data);
    int64_t lo = 0;
    if (p.lines.windows != nullptr) {
        const Window w = load_window(p.lines.windows + line);
        from += w.begin;
        lo = w.lo;
        columns = w.hi;
    } else {
        from += line * p.lines.stride;
    }
    if (p.wide && column >= lo && column + 4 <= columns) return Floats<4>::load(from + column);
#pragma unroll
    for (int i = 0; i < 4; ++i)
        if (column + i >= lo && column + i < columns) v.v[i] = from[column + i];
    return v;
}

__device__ __forceinline__ int swizzle(int k) {
    return k / 4 % 2 * 16;
}

/// A slice of a factor on its way: Width rows or columns, kDepth steps of the chain, by Threads threads.
template <int Width, int Threads, bool Across>
struct Slice {
    static constexpr int kEach = Width * kDepth / 4 / Threads;
    Floats<4> v[kEach];

    __device__ __forceinline__ void load(const Part& p, int64_t k0, int64_t k_end) {
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
            const int at = static_cast<int>(threadIdx.x) + i * Threads;
            if (Across)
                v[i] = fetch(p, k0 + at / (Width / 4), k_end, p.first + at % (Width / 4) * 4, p.end);
            else
                v[i] = fetch(p, p.first + at / (kDepth / 4), p.end, k0 + at % (kDepth / 4) * 4, k_end);
        }
    }
    __device__ __forceinline__ void store(float* shared) const {
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
            const int at = static_cast<int>(threadIdx.x) + i * Threads;
            if (Across) {
                const int k = at / (Width / 4);
                v[i].store(shared + k * Width + ((at % (Width / 4) * 4) ^ swizzle(k)));
            } else {
                const int k = at % (kDepth / 4) * 4, line = at / (kDepth / 4);
#pragma unroll
                for (int j = 0; j < 4; ++j) shared[(k + j) * Width + (line ^ swizzle(k))] = v[i].v[j];
            }
        }
    }
};

using Results = float[8][8];  // a lane's; index i is row (i / 4) * 16 + i % 4, column (j / 4) * 32 + j % 4

template <int Rows, int Columns>
__device__ __forceinline__ void multiply(const float* a, const float* b, int row, int column, Results& c) {
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
        const float *ak = a + k * Rows, *bk = b + k * Columns;
        const int s = swizzle(k);
        const Floats<4> a0 = Floats<4>::load(ak + (row ^ s)), a1 = Floats<4>::load(ak + ((row + 16) ^ s));
        const Floats<4> b0 = Floats<4>::load(bk + (column ^ s)), b1 = Floats<4>::load(bk + ((column + 32) ^ s));
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                c[i][j] = fmaf(a0.v[i], b0.v[j], c[i][j]);
                c[i][j + 4] = fmaf(a0.v[i], b1.v[j], c[i][j + 4]);
                c[i + 4][j] = fmaf(a1.v[i], b0.v[j], c[i + 4][j]);
                c[i + 4][j + 4] = fmaf(a1.v[i], b1.v[j], c[i + 4][j + 4]);
            }
    }
}

/// Continues the chains of a block's results over k = 0 .. k_end - 1. No thread may be at the shared memory when it
/// begins; none is when it ends.
template <int Rows, int Columns, int Threads, bool AAcross, bool BAcross>
__device__ __forceinline__ void chain(const Part& a, const Part& b, int64_t k_end, float (*as)[kDepth * Rows],
                                      float (*bs)[kDepth * Columns], int row, int column, Results& c) {
    if (k_end == 0) return;
    Slice<Rows, Threads, AAcross> next_a;
    Slice<Columns, Threads, BAcross> next_b;
    next_a.load(a, 0, k_end);
    next_b.load(b, 0, k_end);
    next_a.store(as[0]);
    next_b.store(bs[0]);
    __syncthreads();
    int now = 0;
    for (int64_t k0 = 0; k0 < k_end; k0 += kDepth, now ^= 1) {
        const bool more = k0 + kDepth < k_end;
        if (more) {
            next_a.load(a, k0 + kDepth, k_end);
            next_b.load(b, k0 + kDepth, k_end);
        }
        multiply<Rows, Columns>(as[now], bs[now], row, column, c);
        if (more) {  // the other buffer: its readers passed the last barrier
            next_a.store(as[now ^ 1]);
            next_b.store(bs[now ^ 1]);
        }
        __syncthreads();
    }
}

/// Four neighbours of a vector [N] that every row reads; zeros beyond it.
__device__ __forceinline__ Floats<4> four_of(const float* v, int64_t column, int64_t n) {
    if (reinterpret_cast<uintptr_t>(v + column) % 16 == 0 && column + 4 <= n) return Floats<4>::load(v + column);
    Floats<4> r;
#pragma unroll
    for (int j = 0; j < 4; ++j) r.v[j] = column + j < n ? v[column + j] : 0.0f;
    return r;
}

/// base + strength * drop(update) for four neighbouring results.
__device__ __forceinline__ void add_update(const Product& p, int64_t row, int64_t column, const float* update,
                                           Floats<4>& base) {
    const Update& u = p.update;
    if (u.mask.row_keys != nullptr) {
        uint32_t bits[4];
        mask_bits(u.mask, row, column / 4, bits);
        for (int j = 0; j < 4; ++j) base.v[j] = __fadd_rn(base.v[j], drop(u.mask, bits[j], update[j]));
        return;
    }
    Floats<4> strength{{u.scale.s, u.scale.s, u.scale.s, u.scale.s}};
    if (u.scale.r != nullptr) strength = four_of(u.scale.r + request_of(u.scale, row) * p.n, column, p.n);
    for (int j = 0; j < 4; ++j) base.v[j] = fmaf(update[j], strength.v[j], base.v[j]);
}

template <int WarpRows, int WarpColumns, bool AAcross, bool BAcross, bool WithUpdate>
__global__ void __launch_bounds__(32 * WarpRows * WarpColumns)
    gemm_f32_kernel(Product p, bool wide_a, bool wide_b, bool wide_c, bool wide_rows, bool wide_columns) {
    constexpr int kRows = 32 * WarpRows, kColumns = 64 * WarpColumns, kThreads = 32 * WarpRows * WarpColumns;
    WAVLLM_SHARED(float, as, [2][kDepth * kRows]);
    WAVLLM_SHARED(float, bs, [2][kDepth * kColumns]);
    const TilePlace tile = tile_place((p.m + kRows - 1) / kRows, (p.n + kColumns - 1) / kColumns);
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int row = warp / WarpColumns * 32 + lane / 8 * 4, column = warp % WarpColumns * 64 + lane % 8 * 4;
    const int64_t m0 = tile.row * kRows, n0 = tile.column * kColumns;
    float* c = p.c + tile.batch * p.c_batch_stride;

    Part a{p.a, m0, p.m, wide_a}, b{p.b, n0, p.n, wide_b};
    a.lines.data = static_cast<const float*>(p.a.data) + tile.batch * p.a.batch_stride;
    b.lines.data = static_cast<const float*>(p.b.data) + tile.batch * p.b.batch_stride;
    Results acc;
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            Floats<4> v{{0, 0, 0, 0}};
            if (p.accumulate) {
                const Part old{{.data = c, .stride = p.c_stride}, 0, 0, wide_c};
                v = fetch(old, m0 + row + i / 4 * 16 + i % 4, p.m, n0 + column + h * 32, p.n);
            }
            for (int j = 0; j < 4; ++j) acc[i][h * 4 + j] = v.v[j];
        }
    chain<kRows, kColumns, kThreads, AAcross, BAcross>(a, b, p.k, as, bs, row, column, acc);

    Results update;
    if (WithUpdate) {
#pragma unroll
        for (int i = 0; i < 8; ++i)
#pragma unroll
            for (int j = 0; j < 8; ++j) update[i][j] = 0;
        chain<kRows, kColumns, kThreads, false, !BAcross>({p.update.rows, m0, p.m, wide_rows},
                                                          {p.update.columns, n0, p.n, wide_columns}, p.update.rank, as,
                                                          bs, row, column, update);
    }

#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int64_t m = m0 + row + i / 4 * 16 + i % 4, n = n0 + column + h * 32;
            if (m >= p.m || n >= p.n) continue;
            Floats<4> v{{acc[i][h * 4], acc[i][h * 4 + 1], acc[i][h * 4 + 2], acc[i][h * 4 + 3]}};
            if (p.bias != nullptr) {
                const Floats<4> bias = four_of(p.bias, n, p.n);
                for (int j = 0; j < 4; ++j) v.v[j] = __fadd_rn(v.v[j], bias.v[j]);
            }
            for (int j = 0; j < 4; ++j) v.v[j] = __fmul_rn(v.v[j], p.factor);
            if (WithUpdate) add_update(p, m, n, &update[i][h * 4], v);
            float* to = c + m * p.c_stride + n;
            if (wide_c && n + 4 <= p.n)
                v.store(to);
            else
                for (int j = 0; j < 4; ++j)
                    if (n + j < p.n) to[j] = v.v[j];
        }
}

/// Whether every line begins on 16 bytes.
bool wide(const void* data, int64_t stride, int64_t batch_stride) {
    return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % 4 == 0 && batch_stride % 4 == 0;
}
bool wide(const Lines& l) {
    return wide(l.data, l.stride, l.batch_stride);
}

template <int WarpRows, int WarpColumns, bool AAcross, bool BAcross, bool WithUpdate>
void run(const Product& p) {
    constexpr int kRows = 32 * WarpRows, kColumns = 64 * WarpColumns;
    const int64_t blocks = p.batch * ((p.m + kRows - 1) / kRows) * ((p.n + kColumns - 1) / kColumns);
    launch(gemm_f32_kernel<WarpRows, WarpColumns, AAcross, BAcross, WithUpdate>,
           {.grid = dim3(static_cast<unsigned>(blocks)),
            .block = 32 * WarpRows * WarpColumns,
            .name = WithUpdate ? "lora_linear in f32" : "gemm in f32",
            .flops = 2.0 * static_cast<double>(p.batch * p.m * p.n * (p.k + p.update.rank))},
           p, wide(p.a), wide(p.b), wide(p.c, p.c_stride, p.c_batch_stride), wide(p.update.rows),
           wide(p.update.columns));
}

template <bool AAcross, bool BAcross, bool WithUpdate>
void sized(const Product& p) {
    // Tiles of 128 x 128 where there are enough of them to keep a GPU busy, else 64 x 64; which it is changes no bit.
    [[maybe_unused]] const int64_t large = p.batch * ((p.m + 127) / 128) * ((p.n + 127) / 128);
    if constexpr (WithUpdate)  // a thread of the small tiles would need more than 255 registers
        run<4, 2, AAcross, BAcross, WithUpdate>(p);
    else if (large >= 64)
        run<4, 2, AAcross, BAcross, WithUpdate>(p);
    else
        run<2, 1, AAcross, BAcross, WithUpdate>(p);
}

void gemm_f32(const Product& p) {
    if (p.update.rank > 0) return p.b.across ? sized<false, true, true>(p) : sized<false, false, true>(p);
    if (p.a.across) return p.b.across ? sized<true, true, false>(p) : sized<true, false, false>(p);
    return p.b.across ? sized<false, true, false>(p) : sized<false, false, false>(p);
}

WAVLLM_CUDA_BODY(gemm_f32_body, gemm_f32);

}  // namespace

}  // namespace wavllm::kernels
