#pragma once
// Tiles of a frozen weight that stays in the blocks of its file: 32 weights in 20 bytes (q4_1: f16 d, f16 m, 16 bytes of two
// 4-bit q, the low halves first; x = d q + m) or in 34 (q8_0: f16 d, 32 signed bytes q; x = d q). The bytes of a tile are
// copied as they are and become bf16 in shared memory, the very values that a weight rounded to bf16 at load would have.
//
// In shared memory blocks lie one behind another, 5 words each in q4_1 and 17 words two of them in q8_0: odd numbers, so
// that lanes that take a block (or two) each read from different banks.

#include "kernels/gemm/bf16_tiles.cuh"

namespace wavllm::kernels {

template <DType Blocks>
constexpr int kBlockBytes = Blocks == DType::q4_1 ? 20 : 34;

/// Bytes of a tile's blocks, up to a multiple of 16.
template <DType Blocks, int Height, int Width>
constexpr int kRawBytes = (Height * (Width / 32) * kBlockBytes<Blocks> + 15) / 16 * 16;

/// Starts the copy of a tile's blocks. Lines have f.stride elements, a multiple of 32; o.column is one too. Blocks that the
/// factor does not have become zeros, and so do their weights.
template <DType Blocks, int Height, int Width, int Threads>
static __device__ __forceinline__ void copy_blocks(const Lines& f, const uint8_t* data, const TileOrigin& o,
                                                   uint8_t* raw) {
    constexpr int kLineBytes = Width / 32 * kBlockBytes<Blocks>;
    const int64_t stride = f.stride / 32 * kBlockBytes<Blocks>, begin = o.column / 32 * kBlockBytes<Blocks>;
    const int64_t end = (o.columns + 31) / 32 * kBlockBytes<Blocks>;
    // q8_0's 34 bytes: words only where lines are whole words, both in the tile and in the file.
    const bool words = kLineBytes % 4 == 0 && stride % 4 == 0 && begin % 4 == 0;
    if (words) {
        for (int at = static_cast<int>(threadIdx.x) * 4; at < Height * kLineBytes; at += Threads * 4) {
            const int64_t line = o.line + at / kLineBytes, byte = begin + at % kLineBytes;
            const bool there = line < o.lines && byte < end;
            // the last word of an odd number of blocks is half there: stride says there is none behind it
            cp_async<4>(raw + at, there ? data + line * stride + byte : data, there ? 4 : 0);
        }
        return;
    }
    for (int at = static_cast<int>(threadIdx.x) * 2; at < Height * kLineBytes; at += Threads * 2) {
        const int64_t line = o.line + at / kLineBytes, byte = begin + at % kLineBytes;
        uint16_t half_word = 0;
        if (line < o.lines && byte < end) half_word = *reinterpret_cast<const uint16_t*>(data + line * stride + byte);
        *reinterpret_cast<uint16_t*>(raw + at) = half_word;
    }
}

/// Eight weights as one chunk of a tile.
static __device__ __forceinline__ void store_chunk(uint16_t* to, const float (&x)[8]) {
    *reinterpret_cast<uint4*>(to) =
        make_uint4(bf16_pair(x[0], x[1]), bf16_pair(x[2], x[3]), bf16_pair(x[4], x[5]), bf16_pair(x[6], x[7]));
}

/// Which item of a tile a thread takes: items `at` / 32 * 32 .. + 31 of 32 neighbouring threads in another order, PerLine of
/// them to a line of the tile. 2^Low neighbours on a line, then lines, then the rest of the line: eight threads' chunks then
/// lie in different banks.
template <int PerLine, int Low, int LineBits>
static __device__ __forceinline__ int shuffled(int at) {
    constexpr int kRest = PerLine >> Low;  // a power of two
    if constexpr (kRest <= 1) {
        return at;
    } else {
        const int i = at % 32, low = i & ((1 << Low) - 1), line = i >> Low & ((1 << LineBits) - 1);
        const int rest = i >> 3 & (kRest - 1), far = (i >> 3) / kRest;
        return at - i + (line + (far << LineBits)) * PerLine + (rest << Low) + low;
    }
}

/// raw to bf16. Between barriers: all of raw is there, and nobody reads the tile.
template <DType Blocks, int Height, int Width, int Threads>
static __device__ __forceinline__ void expand_tile(const uint8_t* raw, uint16_t* tile) {
    constexpr int kBlocks = Width / 32, kAll = Height * kBlocks;
    const auto* words = reinterpret_cast<const uint32_t*>(raw);
    if constexpr (Blocks == DType::q4_1) {
        for (int at = static_cast<int>(threadIdx.x); at < kAll; at += Threads) {
            const int block = shuffled<kBlocks, 1, 2>(at);
            const uint32_t head = words[block * 5];
            const float d = from_f16(head & 0xffffu), m = from_f16(head >> 16);
#pragma unroll
            for (int i = 0; i < 2; ++i) {  // columns 8 i .. in the low halves, 16 + 8 i .. in the high ones
                const uint32_t q[2] = {words[block * 5 + 1 + 2 * i], words[block * 5 + 2 + 2 * i]};
                float low[8], high[8];
#pragma unroll
                for (int j = 0; j < 8; ++j) {
                    const uint32_t byte = q[j / 4] >> (j % 4 * 8);
                    low[j] = fmaf(static_cast<float>(byte & 0xfu), d, m);  // d q is exact: 4 and 11 bits
                    high[j] = fmaf(static_cast<float>(byte >> 4 & 0xfu), d, m);
                }
                const int line = block / kBlocks, chunk = block % kBlocks * 4 + i;
                store_chunk(tile + chunk_at<Width>(line, chunk), low);
                store_chunk(tile + chunk_at<Width>(line, chunk + 2), high);
            }
        }
    } else {
        static_assert(kAll % 2 == 0, "q8_0 blocks are read two at a time");
        for (int pair = static_cast<int>(threadIdx.x); pair < kAll / 2; pair += Threads) {
            const int two = shuffled<kBlocks / 2, 0, 3>(pair);
            const uint32_t* from = words + two * 17;
#pragma unroll
            for (int which = 0; which < 2; ++which) {
                const int block = two * 2 + which;
                const float d = from_f16(which == 0 ? from[0] & 0xffffu : from[8] >> 16);
#pragma unroll
                for (int chunk = 0; chunk < 4; ++chunk) {
                    float x[8];
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        const int at = chunk * 2 + i;  // a word of four q; the first block's begin half a word late
                        const uint32_t q = which == 0 ? from[at] >> 16 | from[at + 1] << 16 : from[9 + at];
#pragma unroll
                        for (int j = 0; j < 4; ++j)
                            x[i * 4 + j] = __fmul_rn(static_cast<float>(static_cast<int8_t>(q >> (j * 8) & 0xffu)), d);
                    }
                    store_chunk(tile + chunk_at<Width>(block / kBlocks, block % kBlocks * 4 + chunk), x);
                }
            }
        }
    }
}

}  // namespace wavllm::kernels
