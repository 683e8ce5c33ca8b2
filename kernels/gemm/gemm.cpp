#include "kernels/gemm/gemm.h"

#include <array>
#include <utility>

#include "kernels/common/check.h"
#include "kernels/common/simd.h"
#include "kernels/gemm/gemm_blocks.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

namespace {

// A tile is kTileRows x 32 results in registers, in vectors of the width the CPU has. An element's chain is the same in all of them.
#if defined(__AVX512F__)
using hv = vf;
constexpr int kTileRows = 14;  // 28 accumulators, 2 for a panel's row, the rest of 32 registers to spare
WAVLLM_INLINE hv hv_fma(hv a, hv b, hv c) {
    return fma(a, b, c);
}
#elif defined(__FMA__)
using hv [[gnu::vector_size(32)]] = float;
constexpr int kTileRows = 3;  // 12 accumulators of 16 registers
WAVLLM_INLINE hv hv_fma(hv a, hv b, hv c) {
    return (hv)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#else
using hv [[gnu::vector_size(16)]] = float;
constexpr int kTileRows = 1;  // without hardware fma every step is a call: correct, and slow
WAVLLM_INLINE hv hv_fma(hv a, hv b, hv c) {
    for (int i = 0; i < 4; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
}
#endif
constexpr int kWidth = sizeof(hv) / sizeof(float), kParts = static_cast<int>(kPanel) / kWidth;
constexpr int64_t kDepth = 256;  // steps of k before the next tile: a panel's slice (32 KB) stays in L1
constexpr int64_t kBlockRows = 112 / kTileRows * kTileRows;
constexpr int64_t kBlockPanels = 8;

/// Where the left factor's element (row i, step k) stands: a + i * row + (k / 32) * block + k % 32. A row-major matrix
/// has block = 32; panels read as a left factor have row = 32 and block = the distance of two panels.
struct Left {
    const float* a;
    int64_t row, block;
};

WAVLLM_INLINE hv load_vector(const float* p) {
    hv v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

/// acc[i][:] = fma(left(i, k), panel[k][:], acc[i][:]) for `depth` steps of k.
template <int Rows>
WAVLLM_INLINE void multiply(const Left& left, const float* panel, int64_t depth, hv (&acc)[Rows][kParts]) {
    const float* a = left.a;
    for (int64_t k = 0; k < depth; a += left.block) {
        const int64_t steps = std::min<int64_t>(kPanel, depth - k);
        for (int64_t s = 0; s < steps; ++s, panel += kPanel) {
            hv b[kParts];
#pragma GCC unroll 8
            for (int p = 0; p < kParts; ++p) b[p] = load_vector(panel + p * kWidth);
#pragma GCC unroll 14
            for (int i = 0; i < Rows; ++i) {
                const hv x = a[i * left.row + s] - hv{};
#pragma GCC unroll 8
                for (int p = 0; p < kParts; ++p) acc[i][p] = hv_fma(x, b[p], acc[i][p]);
            }
        }
        k += steps;
    }
}

/// The first n of a vector's lanes (all, if n is larger; none, if it is not positive).
WAVLLM_INLINE hv load_part(const float* p, int64_t n) {
    hv v{};
    if (n >= kWidth)
        std::memcpy(&v, p, sizeof v);
    else if (n > 0)
        std::memcpy(&v, p, static_cast<size_t>(n) * sizeof(float));
    return v;
}
WAVLLM_INLINE void store_part(float* p, hv v, int64_t n) {
    if (n >= kWidth)
        std::memcpy(p, &v, sizeof v);
    else if (n > 0)
        std::memcpy(p, &v, static_cast<size_t>(n) * sizeof(float));
}

/// One tile of the product, columns [0, columns) of the panel. `last`: what to do when the chain is complete.
template <int Rows>
void tile(Left left, const float* panel, int64_t depth, float* c, int64_t c_stride, int64_t columns, bool from_c,
          const Epilogue* last) {
    hv acc[Rows][kParts] = {};
    if (from_c)
        for (int i = 0; i < Rows; ++i)
            for (int p = 0; p < kParts; ++p) acc[i][p] = load_part(c + i * c_stride + p * kWidth, columns - p * kWidth);
    multiply<Rows>(left, panel, depth, acc);
    for (int i = 0; i < Rows; ++i)
        for (int p = 0; p < kParts; ++p) {
            float* at = c + i * c_stride + p * kWidth;
            const int64_t n = columns - p * kWidth;
            hv result = acc[i][p];
            if (last && last->add_scaled) {
                const hv s = last->column_scale ? load_part(last->column_scale + p * kWidth, n) : last->scale - hv{};
                result = hv_fma(result, s, load_part(at, n));
            } else if (last && last->bias) {
                result += load_part(last->bias + p * kWidth, n);
            }
            store_part(at, result, n);
        }
}

/// Calls f(integral_constant<rows>) for a tile of 1..kTileRows rows.
template <int Rows = kTileRows, class F>
WAVLLM_INLINE void with_rows(int64_t rows, F&& f) {
    if constexpr (Rows > 1) {
        if (rows < Rows) return with_rows<Rows - 1>(rows, f);
    }
    f(std::integral_constant<int, Rows>{});
}

void gemm_block(int64_t m0, int64_t m1, int64_t p0, int64_t p1, const float* a, int64_t a_stride, const Panels& b,
                float* c, int64_t c_stride, const Epilogue& e) {
    const auto* panels = static_cast<const float*>(b.data);
    // A row distance of 4 KiB or so would put all rows of a tile into the same few cache sets: copy the block then.
    constexpr int64_t kCopyStride = kDepth + kLanes;
    alignas(64) float copy[kBlockRows * kCopyStride];
    const bool copied = a_stride % 512 == 0 && p1 - p0 > 2 && m1 - m0 >= kTileRows;
    for (int64_t k0 = 0; k0 < b.k; k0 += kDepth) {
        const int64_t depth = std::min(kDepth, b.k - k0);
        const bool last = k0 + depth == b.k;
        const float* left = a + m0 * a_stride + k0;
        if (copied) {
            for (int64_t m = m0; m < m1; ++m)
                std::memcpy(copy + (m - m0) * kCopyStride, a + m * a_stride + k0,
                            static_cast<size_t>(depth) * sizeof(float));
            left = copy;
        }
        const int64_t left_stride = copied ? kCopyStride : a_stride;
        for (int64_t p = p0; p < p1; ++p) {
            const float* panel = panels + (p * b.k + k0) * kPanel;
            Epilogue shifted = e;
            if (e.bias) shifted.bias += p * kPanel;
            if (e.column_scale) shifted.column_scale += p * kPanel;
            const int64_t columns = std::min(kPanel, b.n - p * kPanel);
            for (int64_t m = m0; m < m1; m += kTileRows) {
                with_rows(std::min<int64_t>(kTileRows, m1 - m), [&](auto rows) {
                    tile<rows()>(Left{left + (m - m0) * left_stride, left_stride, kPanel}, panel, depth,
                                 c + m * c_stride + p * kPanel, c_stride, columns, e.accumulate || k0 > 0,
                                 last ? &shifted : nullptr);
                });
            }
        }
    }
}

/// add_scaled keeps c for the end, so its chain must not pass through c: one tile goes through all of K.
void gemm_add_scaled(int64_t m0, int64_t m1, int64_t p0, int64_t p1, const float* a, int64_t a_stride, const Panels& b,
                     float* c, int64_t c_stride, const Epilogue& e) {
    for (int64_t p = p0; p < p1; ++p) {
        const float* panel = static_cast<const float*>(b.data) + p * b.k * kPanel;
        Epilogue shifted = e;
        if (e.column_scale) shifted.column_scale += p * kPanel;
        const int64_t columns = std::min(kPanel, b.n - p * kPanel);
        for (int64_t m = m0; m < m1; m += kTileRows)
            with_rows(std::min<int64_t>(kTileRows, m1 - m), [&](auto rows) {
                tile<rows()>(Left{a + m * a_stride, a_stride, kPanel}, panel, b.k, c + m * c_stride + p * kPanel,
                             c_stride, columns, false, &shifted);
            });
    }
}

/// Rows [k0, k1) of B as left factor, dy^T in panels as right one: a tile is the transpose of what is stored. Long
/// chains are cut, so that the slice of dy^T stays in L2 while the rows pass by.
void transposed_block(int64_t k0, int64_t k1, int64_t m, const Panels& b, const float* a_panels, float* c,
                      int64_t c_stride, bool accumulate) {
    constexpr int64_t kSlice = 2048;
    const auto* panels = static_cast<const float*>(b.data);
    const int64_t depth = (b.n + kPanel - 1) / kPanel * kPanel;  // beyond N both factors are zero
    alignas(64) float buffer[kTileRows * kPanel];
    for (int64_t m0 = 0; m0 < m; m0 += kPanel) {
        const int64_t columns = std::min(kPanel, m - m0);
        for (int64_t n0 = 0; n0 < depth; n0 += kSlice) {
            const float* right = a_panels + m0 * depth + n0 * kPanel;
            const bool from_c = accumulate || n0 > 0;
            for (int64_t k = k0; k < k1; k += kTileRows) {
                const int64_t rows = std::min<int64_t>(kTileRows, k1 - k);
                if (from_c)
                    for (int64_t j = 0; j < columns; ++j)
                        for (int64_t i = 0; i < rows; ++i) buffer[i * kPanel + j] = c[(m0 + j) * c_stride + k + i];
                with_rows(rows, [&](auto n) {
                    tile<n()>(Left{panels + n0 * b.k + k * kPanel, kPanel, b.k * kPanel}, right,
                              std::min(kSlice, depth - n0), buffer, kPanel, kPanel, from_c, nullptr);
                });
                for (int64_t j = 0; j < columns; ++j)
                    for (int64_t i = 0; i < rows; ++i) c[(m0 + j) * c_stride + k + i] = buffer[i * kPanel + j];
            }
        }
    }
}

/// One panel of the first `columns` rows of a source, zeros in the other columns.
void pack_panel(const float* source, int64_t stride, int64_t k, int64_t columns, float* out) {
    constexpr int64_t kStrip = 16;  // k is walked in strips, so that a cache line of each row is used while it is there
    for (int64_t k0 = 0; k0 < k; k0 += kStrip) {
        const int64_t k1 = std::min(k, k0 + kStrip);
        for (int64_t j = 0; j < columns; ++j) {
            const float* row = source + j * stride;
            for (int64_t i = k0; i < k1; ++i) out[i * kPanel + j] = row[i];
        }
        for (int64_t i = k0; i < k1; ++i) std::fill(out + i * kPanel + columns, out + (i + 1) * kPanel, 0.0f);
    }
}

}  // namespace

int64_t panel_elements(int64_t k, int64_t n, DType dtype) {
    if (dtype != DType::f32 && dtype != DType::bf16 && !in_blocks(dtype))
        throw DTypeError("gemm: panels of {} are not supported; use f32 or bf16", name(dtype));
    return (n + kPanel - 1) / kPanel * kPanel * (dtype == DType::bf16 ? (k + 1) / 2 * 2 : k);
}

Panels pack_columns(const float* source, int64_t stride, int64_t k, int64_t n, float* panels) {
    parallel_for((n + kPanel - 1) / kPanel, std::max<int64_t>(1, 65536 / (kPanel * std::max<int64_t>(k, 1))),
                 [&](int64_t begin, int64_t end) {
                     for (int64_t p = begin; p < end; ++p) {
                         float* out = panels + p * k * kPanel;
                         const int64_t columns = std::min(kPanel, n - p * kPanel);
                         for (int64_t i = 0; i < k; ++i, out += kPanel) {
                             std::memcpy(out, source + i * stride + p * kPanel,
                                         static_cast<size_t>(columns) * sizeof(float));
                             std::fill(out + columns, out + kPanel, 0.0f);
                         }
                     }
                 });
    return {panels, DType::f32, k, n};
}

Panels pack_rows(const float* source, int64_t stride, int64_t k, int64_t n, float* panels) {
    parallel_for((n + kPanel - 1) / kPanel, std::max<int64_t>(1, 65536 / (kPanel * std::max<int64_t>(k, 1))),
                 [&](int64_t begin, int64_t end) {
                     for (int64_t p = begin; p < end; ++p)
                         pack_panel(source + p * kPanel * stride, stride, k, std::min(kPanel, n - p * kPanel),
                                    panels + p * k * kPanel);
                 });
    return {panels, DType::f32, k, n};
}

Panels pack_weight(DType source_dtype, const void* source, int64_t k, int64_t n, DType panel_dtype, void* panels) {
    const size_t row_bytes = bytes_for(source_dtype, static_cast<size_t>(k));
    const int64_t count = (n + kPanel - 1) / kPanel,
                  each = panel_elements(k, n, panel_dtype) / std::max<int64_t>(count, 1);
    // one panel's rows as f32 at a time
    const Tensor rows = workspace({num_threads() > 1 ? count : 1, kPanel, k});
    float* scratch = const_cast<float*>(rows.data<float>());
    parallel_for(count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p) {
            float* f = num_threads() > 1 ? scratch + p * kPanel * k : scratch;
            const int64_t columns = std::min(kPanel, n - p * kPanel);
            dequantize(source_dtype, static_cast<const char*>(source) + static_cast<size_t>(p * kPanel) * row_bytes, f,
                       static_cast<size_t>(columns * k));
            if (panel_dtype == DType::bf16)
                pack_bf16_panel(f, k, k, columns, static_cast<bf16*>(panels) + p * each);
            else
                pack_panel(f, k, k, columns, static_cast<float*>(panels) + p * each);
        }
    });
    return {panels, panel_dtype, k, n};
}

void gemm(int64_t m, const float* a, int64_t a_stride, const Panels& b, float* c, int64_t c_stride,
          const Epilogue& epilogue) {
    if (b.dtype != DType::f32) {
        Tensor rows = bf16_workspace(m, b.k);
        return gemm_bf16(m, pack_bf16_rows(m, a, a_stride, b.k, rows), b, c, c_stride, epilogue);
    }
    const int64_t panels = (b.n + kPanel - 1) / kPanel;
    const int64_t row_blocks = (m + kBlockRows - 1) / kBlockRows,
                  panel_blocks = (panels + kBlockPanels - 1) / kBlockPanels;
    parallel_for(row_blocks * panel_blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t item = begin; item < end; ++item) {
            const int64_t m0 = item % row_blocks * kBlockRows, p0 = item / row_blocks * kBlockPanels;
            const int64_t m1 = std::min(m, m0 + kBlockRows), p1 = std::min(panels, p0 + kBlockPanels);
            if (epilogue.add_scaled)
                gemm_add_scaled(m0, m1, p0, p1, a, a_stride, b, c, c_stride, epilogue);
            else
                gemm_block(m0, m1, p0, p1, a, a_stride, b, c, c_stride, epilogue);
        }
    });
}

void gemm_transposed(int64_t m, const float* a, int64_t a_stride, const Panels& b, float* c, int64_t c_stride,
                     bool accumulate) {
    if (b.dtype != DType::f32) {
        Tensor rows = bf16_workspace(m, b.n);
        return gemm_transposed_bf16(m, pack_bf16_rows(m, a, a_stride, b.n, rows), b, c, c_stride, accumulate);
    }
    const int64_t depth = (b.n + kPanel - 1) / kPanel * kPanel;
    Tensor packed = workspace({panel_elements(depth, m)});
    float* a_panels = packed.mutable_data<float>();
    // a^T in panels of 32 rows of a, zero steps up to a whole number of panels of b
    parallel_for((m + kPanel - 1) / kPanel, 1, [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p) {
            float* out = a_panels + p * depth * kPanel;
            const int64_t rows = std::min(kPanel, m - p * kPanel);
            for (int64_t n0 = 0; n0 < b.n; n0 += kLanes) {
                const int64_t n1 = std::min(b.n, n0 + kLanes);
                for (int64_t j = 0; j < rows; ++j) {
                    const float* row = a + (p * kPanel + j) * a_stride;
                    for (int64_t n = n0; n < n1; ++n) out[n * kPanel + j] = row[n];
                }
                for (int64_t n = n0; n < n1; ++n) std::fill(out + n * kPanel + rows, out + (n + 1) * kPanel, 0.0f);
            }
            std::fill(out + b.n * kPanel, out + depth * kPanel, 0.0f);
        }
    });
    const int64_t block = 4 * kTileRows;
    parallel_for((b.k + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
            transposed_block(i * block, std::min(b.k, (i + 1) * block), m, b, a_panels, c, c_stride, accumulate);
    });
}

}  // namespace wavllm::kernels
