#include "kernels/gemm/gemm_blocks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "kernels/common/check.h"
#include "kernels/gemm/bf16_tile.h"
#include "kernels/gemm/block_tile.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

namespace {

constexpr int64_t kBlock = 32;                       // weights of a block of the file, and panel columns
constexpr int64_t kBlockElements = kBlock * kPanel;  // of a block of a panel
constexpr int64_t kScratch = 96 * kBlockElements;    // 192 KB of pairs, on the stack: stays in L2
constexpr int64_t kFewBlocks = 160;                  // of one item of work: about 100 KB of q4_1

/// Where a block's parts stand, and how its q lie in the words.
struct Layout {
    int bits, pairs;       ///< of one q; pairs of k in a word
    int64_t words;         ///< offset of the words
    int64_t source_bytes;  ///< of a block of the file
    int64_t source_q;      ///< offset of its q

    explicit Layout(DType dtype)
        : bits(dtype == DType::q4_1 ? 4 : 8),
          pairs(32 / bits),
          words(dtype == DType::q4_1 ? 128 : 64),
          source_bytes(dtype == DType::q4_1 ? 20 : 34),
          source_q(dtype == DType::q4_1 ? 4 : 2) {}

    /// The word of lane `lane` of vector v of a half of the columns, in group g of a half's pairs.
    int64_t word(int half, int group, int v, int lane) const {
        return words + (((half * (16 / pairs) + group) * 2 + v) * 16 + lane) * 4;
    }
    /// Bit of a word where the q of pair t begins.
    int bit(int t) const {
        return (23 - bits + bits * t) % 32;
    }
    uint32_t mask() const {
        return (1U << bits) - 1;
    }
};

float half_at(const uint8_t* p) {
    f16 h;
    std::memcpy(&h, p, sizeof h);
    return to_f32(h);
}

int64_t panels_of(int64_t n) {
    return (n + kPanel - 1) / kPanel;
}

void check_k(DType dtype, int64_t k) {
    if (!in_blocks(dtype) || k % kBlock != 0)
        throw DTypeError("gemm: {} features in {} are no whole number of blocks of {}", k, name(dtype), kBlock);
}

/// One block of 32 columns; source[j] is column j's block of the file, null for a column that is not there.
void pack_block(const Layout& l, const std::array<const uint8_t*, kPanel>& source, uint8_t* out) {
    std::memset(out, 0, static_cast<size_t>(l.words));
    uint8_t q[kPanel][kBlock];
    std::memset(q, l.bits == 4 ? 0 : 128, sizeof q);  // zeros
    for (size_t j = 0; j < kPanel; ++j) {
        const uint8_t* s = source[j];
        if (!s) continue;
        std::memcpy(out + 2 * j, s, 2);
        if (l.bits == 4) {
            std::memcpy(out + 64 + 2 * j, s + 2, 2);
            for (int i = 0; i < 16; ++i) q[j][i] = s[l.source_q + i] & 15, q[j][i + 16] = s[l.source_q + i] >> 4;
        } else {
            for (int i = 0; i < 32; ++i) q[j][i] = s[l.source_q + i] ^ 128;  // adds 128 to a signed byte
        }
    }
    for (int half = 0; half < 2; ++half)
        for (int g = 0; g < 16 / l.pairs; ++g)
            for (int v = 0; v < 2; ++v)
                for (int lane = 0; lane < 16; ++lane) {
                    const uint8_t* column = q[half * 16 + v * 8 + lane / 2];
                    uint32_t word = 0;
                    for (int t = 0; t < l.pairs; ++t) {
                        const uint32_t value = column[2 * (g * l.pairs + t) + 1 - lane % 2];
                        const int bit = l.bit(t);
                        word |= value << bit;
                        if (bit + l.bits > 32) word |= value >> (32 - bit);
                    }
                    std::memcpy(out + l.word(half, g, v, lane), &word, sizeof word);
                }
}

void expand_portable(DType dtype, const void* panel, int64_t blocks, bf16* out) {
    const Layout l(dtype);
    for (int64_t b = 0; b < blocks; ++b, out += kBlockElements) {
        const uint8_t* block = static_cast<const uint8_t*>(panel) + b * block_bytes(dtype);
        for (int half = 0; half < 2; ++half)
            for (int i = 0; i < 16; ++i) {
                const int column = half * 16 + i;
                const float d = half_at(block + 2 * column), m = l.bits == 4 ? half_at(block + 64 + 2 * column) : 0;
                for (int k = 0; k < kBlock; ++k) {
                    const int pair = k / 2, t = pair % l.pairs, lane = 2 * (i % 8) + 1 - k % 2;
                    uint32_t word = 0;
                    std::memcpy(&word, block + l.word(half, pair / l.pairs, i / 8, lane), sizeof word);
                    const int bit = l.bit(t);
                    const uint64_t twice = word | uint64_t{word} << 32;
                    const auto q = static_cast<float>(static_cast<int>(twice >> bit & l.mask()));
                    // as dequantize() does it
                    const float x = l.bits == 4 ? q * d + m : (q - 128) * d;
                    const float normal = std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
                    out[(pair * kPanel + column) * 2 + 1 - k % 2] = to_bf16(normal);
                }
            }
    }
}

template <DType dtype>
void expand_portable(const void* panel, int64_t blocks, bf16* out) {
    expand_portable(dtype, panel, blocks, out);
}

const uint8_t* panel_at(const Panels& b, int64_t panel, int64_t block) {
    return static_cast<const uint8_t*>(b.data) + (panel * (b.k / kBlock) + block) * block_bytes(b.dtype);
}

/// Few rows: each weight is multiplied as it is made. The panels of all products are shared out together.
void multiply_few(int64_t m, Bf16Rows a, std::span<const BlockProduct> products) {
    int64_t panels = 0;
    for (const BlockProduct& p : products) panels += panels_of(p.b.n);
    const int64_t blocks = products[0].b.k / kBlock;
    const int64_t each =
        std::clamp<int64_t>(kFewBlocks / std::max<int64_t>(1, blocks), 1, std::max<int64_t>(1, panels));
    parallel_for(panels, each, [&](int64_t begin, int64_t end) {
        const BlockProduct* product = products.data();
        int64_t before = 0;  // panels of the products in front
        for (int64_t i = begin; i < end; ++i) {
            while (i - before >= panels_of(product->b.n)) before += panels_of(product++->b.n);
            const Panels& b = product->b;
            const int64_t p = i - before;
            block_kernels(b.dtype).tile(m, {.left = a,
                                            .panel = panel_at(b, p, 0),
                                            .blocks = blocks,
                                            .c = product->c + p * kPanel,
                                            .c_stride = product->c_stride,
                                            .columns = std::min(kPanel, b.n - p * kPanel),
                                            .from_c = product->accumulate,
                                            .bias = product->bias ? product->bias + p * kPanel : nullptr});
        }
    });
}

/// Many rows: panels become pairs, a stack's worth at a time, which all rows pass by.
void multiply_many(int64_t m, Bf16Rows a, const Panels& b, float* c, int64_t c_stride, const Epilogue& e) {
    const int64_t blocks = b.k / kBlock, panels = panels_of(b.n);
    const int64_t slices = (blocks * kBlockElements + kScratch - 1) / kScratch;  // of a chain too long for the scratch
    const int64_t each = slices > 1 ? 1 : std::max<int64_t>(1, kScratch / (blocks * kBlockElements));
    parallel_for((panels + each - 1) / each, 1, [&](int64_t begin, int64_t end) {
        alignas(64) bf16 pairs[kScratch];
        const auto expand = block_kernels(b.dtype).expand;
        for (int64_t item = begin; item < end; ++item) {
            const int64_t p0 = item * each, count = std::min(each, panels - p0);
            for (int64_t s = 0; s < slices; ++s) {
                const int64_t first = blocks * s / slices, end_block = blocks * (s + 1) / slices,
                              depth = end_block - first;
                for (int64_t p = 0; p < count; ++p)
                    expand(panel_at(b, p0 + p, first), depth, pairs + p * depth * kBlockElements);
                Epilogue part;
                part.accumulate = e.accumulate || s > 0;
                part.bias = s + 1 == slices && e.bias ? e.bias + p0 * kPanel : nullptr;
                gemm_bf16(m, {a.data + first * kBlock, a.stride},
                          {pairs, DType::bf16, depth * kBlock, std::min(count * kPanel, b.n - p0 * kPanel)},
                          c + p0 * kPanel, c_stride, part);
            }
        }
    });
}

}  // namespace

const BlockKernels& block_kernels(DType dtype) {
    static constexpr BlockKernels q4{nullptr, expand_portable<DType::q4_1>}, q8{nullptr, expand_portable<DType::q8_0>};
    if (&bf16_kernels() != &portable_bf16_kernels()) return *avx512_block_kernels(dtype);
    return dtype == DType::q4_1 ? q4 : q8;
}

bool fits_block_panels(DType dtype, const void* blocks, int64_t k, int64_t n) {
    if (!in_blocks(dtype) || k % kBlock != 0) return false;
    const Layout l(dtype);
    const auto* p = static_cast<const uint8_t*>(blocks);
    for (int64_t i = 0; i < k / kBlock * n; ++i, p += l.source_bytes) {
        const float d = half_at(p), m = l.bits == 4 ? half_at(p + 2) : 0;
        if (!std::isfinite(d) || !std::isfinite(m)) return false;
        // zero weights would get another sign
        if (std::signbit(d) && (d == 0 || l.bits == 8)) return false;
        if (d == 0 && l.bits == 8 && std::any_of(p + l.source_q, p + l.source_bytes, [](uint8_t q) { return q != 0; }))
            return false;
        for (const double scale : {16.0, 256.0}) {  // exact in double
            const double shift = static_cast<double>(m) - scale * static_cast<double>(d);
            if (l.bits == 4 && static_cast<double>(static_cast<float>(shift)) != shift) return false;
        }
    }
    return true;
}

Panels pack_block_panels(DType dtype, const void* blocks, int64_t k, int64_t n, void* panels) {
    check_k(dtype, k);
    const Layout l(dtype);
    const int64_t depth = k / kBlock;
    parallel_for(panels_of(n), 1, [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p)
            for (int64_t b = 0; b < depth; ++b) {
                std::array<const uint8_t*, kPanel> source{};
                for (int64_t j = 0; j < std::min(kPanel, n - p * kPanel); ++j)
                    source[static_cast<size_t>(j)] =
                        static_cast<const uint8_t*>(blocks) + ((p * kPanel + j) * depth + b) * l.source_bytes;
                pack_block(l, source, static_cast<uint8_t*>(panels) + (p * depth + b) * block_bytes(dtype));
            }
    });
    return {panels, dtype, k, n};
}

void gemm_blocks(int64_t m, Bf16Rows a, const Panels& b, float* c, int64_t c_stride, const Epilogue& epilogue,
                 const Bf16Update* update) {
    check_k(b.dtype, b.k);
    if (epilogue.add_scaled) throw Error("gemm: add_scaled with a weight in {} blocks is not supported", name(b.dtype));
    if (m == 0 || b.n == 0) return;
    const BlockProduct product{b, c, c_stride, epilogue.accumulate, epilogue.bias};
    if (!gemm_blocks_together(m, a, {&product, 1})) multiply_many(m, a, b, c, c_stride, epilogue);
    if (update) gemm_bf16(m, update->rows, update->b, c, c_stride, {.add_scaled = true, .scale = update->scale});
}

bool gemm_blocks_together(int64_t m, Bf16Rows a, std::span<const BlockProduct> products) {
    const bool can = m <= kBlockTileRows && std::all_of(products.begin(), products.end(), [&](const BlockProduct& p) {
                         return in_blocks(p.b.dtype) && p.b.k == products[0].b.k && block_kernels(p.b.dtype).tile;
                     });
    if (can && m > 0 && !products.empty()) multiply_few(m, a, products);
    return can;
}

void expand_blocks(const Panels& b, int64_t panel, int64_t first, int64_t blocks, bf16* out) {
    block_kernels(b.dtype).expand(panel_at(b, panel, first), blocks, out);
}

}  // namespace wavllm::kernels
