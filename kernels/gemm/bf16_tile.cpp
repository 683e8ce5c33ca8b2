// The portable version: pairs are widened to f32 (a shift, a mask) and multiplied with the fma of simd.h.

#include "kernels/gemm/bf16_tile.h"

#include <algorithm>
#include <atomic>

#include "kernels/common/simd.h"

namespace wavllm::kernels {

namespace {

using vu [[gnu::vector_size(64)]] = uint32_t;

/// Rounded to bf16 in the upper half of each lane, denormals zero.
WAVLLM_INLINE vu rounded(vf x) {
    const vu bits = (vu)x;
    const vu up = bits + 0x7FFFU + ((bits >> 16) & 1U);
    const vu result = ((bits & 0x7FFFFFFFU) > 0x7F800000U ? bits | 0x400000U : up) & 0xFFFF0000U;
    return (bits & 0x7F800000U) == 0U ? bits & 0x80000000U : result;
}

WAVLLM_INLINE vu load_pairs(const bf16* p) {
    vu v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

/// The first n lanes, of any n.
WAVLLM_INLINE vf load_some(const float* p, int64_t n) {
    return load(p, std::clamp<int64_t>(n, 0, kLanes));
}

constexpr int kRows = 4;  // at a time: 8 accumulators of 16 lanes

template <int Rows>
void tile_rows(const Bf16Tile& t) {
    vf acc[Rows][2];
    for (int i = 0; i < Rows; ++i)
        for (int h = 0; h < 2; ++h)
            acc[i][h] = t.from_c ? load_some(t.c + i * t.c_stride + h * kLanes, t.columns - h * kLanes) : vf{};
    for (int64_t k = 0; k < t.pairs; ++k) {
        vf even[2], odd[2];
        for (int h = 0; h < 2; ++h) {
            const vu b = load_pairs(t.panel + k * 64 + h * 32);
            even[h] = (vf)(b & 0xFFFF0000U);
            odd[h] = (vf)(b << 16);
        }
        for (int i = 0; i < Rows; ++i) {
            uint32_t pair;
            std::memcpy(&pair, t.left.data + i * t.left.stride + 2 * k, sizeof pair);
            const vf a0 = broadcast(__builtin_bit_cast(float, pair & 0xFFFF0000U)),
                     a1 = broadcast(__builtin_bit_cast(float, pair << 16));
            for (int h = 0; h < 2; ++h) acc[i][h] = fma(a1, odd[h], fma(a0, even[h], acc[i][h]));
        }
    }
    const Epilogue* e = t.last;
    for (int i = 0; i < Rows; ++i)
        for (int h = 0; h < 2; ++h) {
            float* c = t.c + i * t.c_stride + h * kLanes;
            const int64_t n = std::clamp<int64_t>(t.columns - h * kLanes, 0, kLanes);
            if (e && e->add_scaled)
                acc[i][h] =
                    fma(acc[i][h], e->column_scale ? load(e->column_scale + h * kLanes, n) : broadcast(e->scale),
                        load(c, n));
            else if (e && e->bias)
                acc[i][h] += load(e->bias + h * kLanes, n);
            store(c, acc[i][h], n);
        }
}

void tile(int64_t rows, const Bf16Tile& t) {
    Bf16Tile part = t;
    for (int64_t i = 0; i < rows; i += kRows) {
        part.left = t.left.from(i);
        part.c = t.c + i * t.c_stride;
        switch (std::min<int64_t>(kRows, rows - i)) {
            case 1: tile_rows<1>(part); break;
            case 2: tile_rows<2>(part); break;
            case 3: tile_rows<3>(part); break;
            default: tile_rows<kRows>(part);
        }
    }
}

void row(const float* a, int64_t k, bf16* out) {
    for (int64_t i = 0; i < (k + 31) / 32 * 32; i += kLanes) {
        const vu v = rounded(load_some(a + i, k - i)) >> 16;
        for (int j = 0; j < kLanes; ++j) out[(i + j) ^ 1].bits = static_cast<uint16_t>(v[j]);
    }
}

void row_pair(const float* even, const float* odd, int64_t columns, bf16* out) {
    for (int h = 0; h < 2; ++h) {
        const vu x = rounded(load_some(even + h * kLanes, columns - h * kLanes)),
                 y = odd ? rounded(load_some(odd + h * kLanes, columns - h * kLanes)) : vu{};
        const vu pairs = x | (y >> 16);
        std::memcpy(out + h * 32, &pairs, sizeof pairs);
    }
}

void turn(const bf16* in, int64_t k_pairs, bf16* out) {
    for (int64_t k = 0; k < 32; ++k)
        for (int64_t n = 0; n < 32; ++n)
            out[(n / 2 * 32 + k) * 2 + 1 - n % 2] = k / 2 < k_pairs ? in[(k / 2 * 32 + n) * 2 + 1 - k % 2] : bf16{0};
}

constexpr Bf16Kernels kPortable{tile, row, row_pair, turn};
std::atomic<bool> g_portable{false};

}  // namespace

bool bf16_products() {
#if defined(__x86_64__)
    static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                            __builtin_cpu_supports("avx512bf16");
    return has;
#else
    return false;
#endif
}

const Bf16Kernels& portable_bf16_kernels() {
    return kPortable;
}

const Bf16Kernels& bf16_kernels() {
    return bf16_products() && !g_portable.load(std::memory_order_relaxed) ? *avx512_bf16_kernels() : kPortable;
}

void use_portable_bf16(bool portable) {
    g_portable = portable;
}

}  // namespace wavllm::kernels
