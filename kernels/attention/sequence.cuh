#pragma once
// Which queries and keys a block of an attention kernel works on.

#include "kernels/attention/attention_body.h"
#include "kernels/common/elementwise.cuh"

namespace wavllm::kernels {

// Scores are in units of log 2: q is scaled by scale * log2 e when it is loaded, so that a probability is one exp2.
constexpr float kAttentionLog2E = 1.44269504088896341f, kAttentionLn2 = 0.693147180559945309f;
// Finite, so that (lowest - lowest) is 0 where a row has seen nothing yet.
constexpr float kLowestScore = -1e30f;
/// Shared memory that a block may ask for on every GPU from sm_80 on: 99 KiB on sm_86 and sm_89, which have the least.
constexpr size_t kMostShared = size_t{99} * 1024;

struct AttentionSequence {
    int64_t q0, queries, k0, keys;
    bool causal;

    static __device__ __forceinline__ AttentionSequence of(const DeviceAttention& a, int64_t sequence) {
        const int64_t q0 = a.q_borders[sequence], k0 = a.k_borders[sequence];
        return {q0, a.q_borders[sequence + 1] - q0, k0, a.k_borders[sequence + 1] - k0, a.causal};
    }
    /// How many keys, from the first, query i sees.
    __device__ __forceinline__ int64_t visible(int64_t i) const {
        if (!causal) return keys;
        const int64_t n = i + 1 + keys - queries;
        return n < 0 ? 0 : n < keys ? n : keys;
    }
    /// How many of the keys j, j + 1, ... query i sees, at most `most`.
    __device__ __forceinline__ int visible_after(int64_t i, int64_t j, int most) const {
        const int64_t n = visible(i) - j;
        return n < 0 ? 0 : n < most ? static_cast<int>(n) : most;
    }
    /// The first query that sees key j.
    __device__ __forceinline__ int64_t first_query(int64_t j) const {
        if (!causal) return 0;
        const int64_t i = j + queries - keys;
        return i < 0 ? 0 : i;
    }
};

/// One block an item: a tile of one head of one sequence, tiles first, so that blocks that run together read the same keys.
/// Short sequences have fewer than `tiles`.
struct AttentionItem {
    int64_t sequence, head, tile;

    static __device__ __forceinline__ AttentionItem of(int64_t index, int64_t heads, int64_t tiles) {
        return {index / tiles / heads, index / tiles % heads, index % tiles};
    }
};

static inline unsigned attention_blocks(const DeviceAttention& a, int64_t heads, int64_t longest, int64_t tile) {
    return static_cast<unsigned>(a.sequences * heads * ((longest + tile - 1) / tile));
}

/// Whether rows of these heads can be read as float4.
static inline bool in_vectors(const DeviceHeads& x, int dh) {
    return dh % 4 == 0 && x.row % 4 == 0 && x.head % 4 == 0 && aligned<4>(x.p);
}

}  // namespace wavllm::kernels
