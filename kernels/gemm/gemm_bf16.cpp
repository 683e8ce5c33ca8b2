#include "kernels/gemm/gemm_bf16.h"

#include <algorithm>

#include "kernels/common/check.h"
#include "kernels/gemm/bf16_tile.h"
#include "kernels/gemm/gemm_blocks.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

namespace {

constexpr int64_t kDepth = 768;       // longest slice of the chain: a tile's rows (21 KB) stay in L1
constexpr int64_t kBlockRows = 448;   // of one item of work
constexpr int64_t kBlockPanels = 8;   // a slice of them (at most 393 KB) stays in L2 while the rows pass by
constexpr int64_t kTurnedPanels = 3;  // the same for panels turned on the way (147 KB on the stack)
constexpr int64_t kPairRow = 2 * kPanel;

int64_t up(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

int64_t pieces(int64_t n, int64_t largest) {
    return (n + largest - 1) / largest;
}

/// Begin of part i of n cut into `parts` about equal ones, in units.
int64_t cut(int64_t n, int64_t parts, int64_t i, int64_t unit = 1) {
    const int64_t units = pieces(n, unit);
    return std::min(n, units * i / parts * unit);
}

/// Panels as the tiles read them: panel p at data + p * stride (elements).
struct Right {
    const bf16* data;
    int64_t stride;
};

/// m rows times `panels` panels, one slice of the chain. c stands at the first panel's column 0; columns: of all panels.
void multiply(int64_t m, Bf16Rows left, Right right, int64_t panels, int64_t pairs, float* c, int64_t c_stride,
              int64_t columns, bool from_c, const Epilogue* last) {
    const auto tile = bf16_kernels().tile;
    const int64_t tiles = pieces(m, kBf16TileRows);
    for (int64_t i = 0; i < tiles; ++i) {
        const int64_t begin = cut(m, tiles, i), end = cut(m, tiles, i + 1);
        for (int64_t p = 0; p < panels; ++p) {
            Epilogue shifted;
            if (last) {
                shifted = *last;
                if (shifted.bias) shifted.bias += p * kPanel;
                if (shifted.column_scale) shifted.column_scale += p * kPanel;
            }
            tile(end - begin, {.left = left.from(begin),
                               .panel = right.data + p * right.stride,
                               .pairs = pairs,
                               .c = c + begin * c_stride + p * kPanel,
                               .c_stride = c_stride,
                               .columns = std::min(kPanel, columns - p * kPanel),
                               .from_c = from_c,
                               .last = last ? &shifted : nullptr});
        }
    }
}

Epilogue shifted_to(const Epilogue& e, int64_t column) {
    Epilogue s = e;
    if (s.bias) s.bias += column;
    if (s.column_scale) s.column_scale += column;
    return s;
}

Right panels_of(const Panels& b, int64_t first) {
    const int64_t stride = up(b.k, 2) * kPanel;
    return {static_cast<const bf16*>(b.data) + first * stride, stride};
}

/// c += scale * (rows B) for panels [p0, p1).
void add_update(int64_t m, Bf16Rows rows, const Bf16Update& u, int64_t p0, int64_t p1, float* c, int64_t c_stride) {
    const Epilogue e{.add_scaled = true, .scale = u.scale};
    multiply(m, rows, panels_of(u.b, p0), p1 - p0, up(u.b.k, 2) / 2, c, c_stride, u.b.n - p0 * kPanel, false, &e);
}

/// Calls f(row begin, row end, first panel, last panel + 1) for all blocks of a result, on the thread pool.
template <class F>
void for_blocks(int64_t m, int64_t panels, int64_t block_panels, F&& f) {
    if (m == 0 || panels == 0) return;
    const int64_t row_blocks = pieces(m, kBlockRows), panel_blocks = pieces(panels, block_panels);
    parallel_for(row_blocks * panel_blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t item = begin; item < end; ++item) {
            const int64_t r = item % row_blocks, p = item / row_blocks;
            f(cut(m, row_blocks, r, kBf16TileRows), cut(m, row_blocks, r + 1, kBf16TileRows),
              cut(panels, panel_blocks, p), cut(panels, panel_blocks, p + 1));
        }
    });
}

Tensor floats_for(int64_t elements) {
    return workspace({elements / 2});
}

bf16* bf16_data(Tensor& memory) {
    return static_cast<bf16*>(memory.mutable_raw());
}

/// The slice of B's panels [p0, p0 + count) along k that holds n-panels [n0, n1), as pairs along n.
Right turn_slice(const Panels& b, int64_t p0, int64_t count, int64_t n0, int64_t n1, bf16* out) {
    const auto turn = bf16_kernels().turn;
    const int64_t k_pairs = up(b.k, 2) / 2, stride = (n1 - n0) * kPanel * kPanel;
    const auto* data = static_cast<const bf16*>(b.data);
    alignas(64) bf16 block[kPanel * kPanel];
    for (int64_t n = n0; n < n1; ++n)
        for (int64_t p = 0; p < count; ++p) {
            const int64_t pair = (p0 + p) * kPanel / 2;
            if (in_blocks(b.dtype)) expand_blocks(b, n, p0 + p, 1, block);
            turn(in_blocks(b.dtype) ? block : data + (n * k_pairs + pair) * kPairRow,
                 std::min(kPanel / 2, k_pairs - pair), out + p * stride + (n - n0) * kPanel * kPanel);
        }
    return {out, stride};
}

}  // namespace

int64_t bf16_stride(int64_t k) {
    const int64_t n = up(k, 32);
    return n % 512 == 0 ? n + 32 : n;
}

Tensor bf16_workspace(int64_t m, int64_t k) {
    return floats_for(m * bf16_stride(k));
}

Tensor bf16_panel_workspace(int64_t k, int64_t n) {
    return floats_for(panel_elements(k, n, DType::bf16));
}

void pack_bf16_row(const float* a, int64_t k, bf16* out) {
    bf16_kernels().row(a, k, out);
}

Bf16Rows pack_bf16_rows(int64_t m, const float* a, int64_t a_stride, int64_t k, Tensor& memory) {
    const int64_t stride = bf16_stride(k);
    bf16* out = bf16_data(memory);
    const auto row = bf16_kernels().row;
    parallel_for(m, 2 * row_chunk(k), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) row(a + i * a_stride, k, out + i * stride);
    });
    return {out, stride};
}

Panels pack_bf16_columns(const float* source, int64_t stride, int64_t k, int64_t n, Tensor& memory) {
    bf16* out = bf16_data(memory);
    const int64_t pairs = up(k, 2) / 2;
    const auto row_pair = bf16_kernels().row_pair;
    parallel_for(pieces(n, kPanel), std::max<int64_t>(1, 1024 / std::max<int64_t>(k, 1)),
                 [&](int64_t begin, int64_t end) {
                     for (int64_t p = begin; p < end; ++p)
                         for (int64_t i = 0; i < pairs; ++i) {
                             const float* even = source + 2 * i * stride + p * kPanel;
                             row_pair(even, 2 * i + 1 < k ? even + stride : nullptr, std::min(kPanel, n - p * kPanel),
                                      out + (p * pairs + i) * kPairRow);
                         }
                 });
    return {out, DType::bf16, k, n};
}

void pack_bf16_panel(const float* source, int64_t stride, int64_t k, int64_t columns, bf16* panel) {
    constexpr int64_t kStrip = 128;
    alignas(64) bf16 strip[kStrip];
    const int64_t pairs = up(k, 2) / 2;
    const auto row = bf16_kernels().row;
    if (columns < kPanel) std::fill(panel, panel + pairs * kPairRow, bf16{0});
    for (int64_t k0 = 0; k0 < k; k0 += kStrip)
        for (int64_t j = 0; j < columns; ++j) {
            const int64_t depth = std::min(kStrip, k - k0);
            row(source + j * stride + k0, depth, strip);
            for (int64_t i = 0; i < depth; i += 2) std::memcpy(panel + ((k0 + i) / 2 * kPanel + j) * 2, strip + i, 4);
        }
}

Panels pack_bf16_transposed(const float* source, int64_t stride, int64_t k, int64_t n, Tensor& memory) {
    bf16* out = bf16_data(memory);
    parallel_for(pieces(n, kPanel), std::max<int64_t>(1, 1024 / std::max<int64_t>(k, 1)),
                 [&](int64_t begin, int64_t end) {
                     for (int64_t p = begin; p < end; ++p)
                         pack_bf16_panel(source + p * kPanel * stride, stride, k, std::min(kPanel, n - p * kPanel),
                                         out + p * up(k, 2) * kPanel);
                 });
    return {out, DType::bf16, k, n};
}

void gemm_bf16(int64_t m, Bf16Rows a, const Panels& b, float* c, int64_t c_stride, const Epilogue& epilogue,
               const Bf16Update* update) {
    if (in_blocks(b.dtype)) return gemm_blocks(m, a, b, c, c_stride, epilogue, update);
    const int64_t pairs = up(b.k, 2) / 2;
    // add_scaled keeps c for the end, so its chain must not pass through c: it is not cut.
    const int64_t slices = epilogue.add_scaled ? 1 : std::max<int64_t>(1, pieces(pairs, kDepth / 2));
    const int64_t few = m <= kBf16TileRows ? 2 : kBlockPanels;  // one tile high: the threads share the panels alone
    for_blocks(m, pieces(b.n, kPanel), few, [&](int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
        const Epilogue e = shifted_to(epilogue, p0 * kPanel);
        const Right right = panels_of(b, p0);
        float* out = c + m0 * c_stride + p0 * kPanel;
        for (int64_t s = 0; s < slices; ++s) {
            const int64_t k0 = cut(pairs, slices, s), k1 = cut(pairs, slices, s + 1);
            multiply(m1 - m0, {a.data + m0 * a.stride + 2 * k0, a.stride}, {right.data + k0 * kPairRow, right.stride},
                     p1 - p0, k1 - k0, out, c_stride, b.n - p0 * kPanel, epilogue.accumulate || s > 0,
                     s + 1 == slices ? &e : nullptr);
        }
        if (update) add_update(m1 - m0, update->rows.from(m0), *update, p0, p1, out, c_stride);
    });
}

void gemm_transposed_bf16(int64_t m, Bf16Rows a, const Panels& b, float* c, int64_t c_stride, bool accumulate,
                          const Bf16Update* update) {
    const int64_t n_panels = pieces(b.n, kPanel), slices = std::max<int64_t>(1, pieces(n_panels, kDepth / kPanel));
    for_blocks(m, pieces(b.k, kPanel), kTurnedPanels, [&](int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
        alignas(64) bf16 turned[kTurnedPanels * kPanel * kDepth];
        float* out = c + m0 * c_stride + p0 * kPanel;
        for (int64_t s = 0; s < slices; ++s) {
            const int64_t n0 = cut(n_panels, slices, s), n1 = cut(n_panels, slices, s + 1);
            const Right right = turn_slice(b, p0, p1 - p0, n0, n1, turned);
            multiply(m1 - m0, {a.data + m0 * a.stride + n0 * kPanel, a.stride}, right, p1 - p0, (n1 - n0) * kPanel / 2,
                     out, c_stride, b.k - p0 * kPanel, accumulate || s > 0, nullptr);
        }
        if (update) add_update(m1 - m0, update->rows.from(m0), *update, p0, p1, out, c_stride);
    });
}

void add_transposed_product_bf16(int64_t rows, const float* left, int64_t k, const float* right, int64_t n,
                                 float* sum) {
    if (rows == 0 || k == 0 || n == 0) return;
    // left^T in rows of pairs along T: pairs of left's rows, read column by column
    Tensor memory = bf16_workspace(k, rows);
    const int64_t stride = bf16_stride(rows), pairs = up(rows, 2) / 2;
    bf16* turned = bf16_data(memory);
    const auto row_pair = bf16_kernels().row_pair;
    parallel_for(pieces(k, kPanel), 1, [&](int64_t begin, int64_t end) {
        alignas(64) bf16 strip[kPairRow];
        for (int64_t p = begin; p < end; ++p) {
            const int64_t columns = std::min(kPanel, k - p * kPanel);
            for (int64_t i = 0; i < pairs; ++i) {
                const float* even = left + 2 * i * k + p * kPanel;
                row_pair(even, 2 * i + 1 < rows ? even + k : nullptr, columns, strip);
                for (int64_t j = 0; j < columns; ++j)
                    std::memcpy(turned + (p * kPanel + j) * stride + 2 * i, strip + 2 * j, 4);
            }
        }
    });
    parallel_for(pieces(n, kPanel), 1, [&](int64_t begin, int64_t end) {
        alignas(64) bf16 panel[kDepth * kPanel];  // 48 KB of right, packed on the way
        for (int64_t p = begin; p < end; ++p) {
            const int64_t columns = std::min(kPanel, n - p * kPanel);
            for (int64_t t0 = 0; t0 < pairs; t0 += kDepth / 2) {
                const int64_t t1 = std::min(pairs, t0 + kDepth / 2);
                for (int64_t t = t0; t < t1; ++t) {
                    const float* even = right + 2 * t * n + p * kPanel;
                    row_pair(even, 2 * t + 1 < rows ? even + n : nullptr, columns, panel + (t - t0) * kPairRow);
                }
                multiply(k, {turned + 2 * t0, stride}, {panel, 0}, 1, t1 - t0, sum + p * kPanel, n, columns, true,
                         nullptr);
            }
        }
    });
}

}  // namespace wavllm::kernels
