#pragma once
// The CUDA bodies of attention: f32 in attention.cu and backward.cu, products in bf16 on tensor cores in attention_bf16.cu
// and backward_bf16.cu. All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// A [rows, heads, Dh] tensor whose rows and heads may lie apart (in elements); Dh is contiguous.
struct DeviceHeads {
    const float* p;
    int64_t row, head;
};

/// What all of them are told. Borders as in AttentionLayout; `longest`: of the sequences, for the size of the grid.
struct DeviceAttention {
    DeviceHeads q, k, v;
    const int64_t *q_borders, *k_borders;
    int64_t sequences, heads, kv_heads, longest_q, longest_k;
    int dh;
    bool causal;
    float scale;
    /// AttentionBias: gate [Tq, heads], by_distance [heads, 2 reach + 1]; null: none.
    const float *gate = nullptr, *by_distance = nullptr;
    int64_t reach = 0;
};

/// dy and y: [Tq, heads * Dh]; delta: workspace [Tq, heads]. dq, and dk with dv, are null where they are not wanted.
struct DeviceAttentionGradients {
    const float *dy, *y, *log_sum_exp;
    int64_t q_rows;
    float *delta, *dq, *dk, *dv;
    /// dgate like gate; dby_distance [2 reach + 1, heads], added to, with `parts`, workspace: what each tile of queries adds,
    /// [sequences, heads, tiles of attention_dq_rows(dh) in the longest sequence, 2 reach + 1].
    float *dgate = nullptr, *dby_distance = nullptr, *parts = nullptr;
};

/// Queries in a tile of the gradient of q.
constexpr int64_t attention_dq_rows(int64_t dh) {
    return dh <= 64 ? 64 : dh <= 128 ? 32 : 16;
}

inline CudaBody<void(const DeviceAttention& a, float* y, float* log_sum_exp)> attention_body{"attention"};
inline CudaBody<void(const DeviceAttention& a, const DeviceAttentionGradients& g)> attention_backward_body{
    "attention backward"};

/// Heads rounded to bf16 and laid out for tensor cores: [rows, heads, width], zeros behind Dh.
struct PackedHeads {
    void *q, *k, *v, *dy;  ///< workspace; dy only for the way back
    int64_t q_rows, k_rows;
};
/// Width of a packed head: 64, 128 or 256.
inline int64_t packed_head_width(int64_t dh) {
    return dh <= 64 ? 64 : dh <= 128 ? 128 : 256;
}

inline CudaBody<void(const DeviceAttention& a, const PackedHeads& packed, float* y, float* log_sum_exp)>
    attention_bf16_body{"attention with products in bf16"};
inline CudaBody<void(const DeviceAttention& a, const PackedHeads& packed, const DeviceAttentionGradients& g)>
    attention_backward_bf16_body{"attention backward with products in bf16"};

}  // namespace wavllm::kernels
