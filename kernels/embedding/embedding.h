#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y[t,:] = table[ids[t],:] as f32 (of a table in f64 as f64). table: [V, D] of f32, bf16, f16, q8_0 or q4_1 (rows are
/// dequantised as they are looked up); ids: i32 [T] on the CPU, or on the table's device; y: [T, D]. Throws Error naming
/// the id and V if an id on the CPU is not in [0, V); on a device nobody looks: only what a kernel chose among V logits may
/// stand there.
Tensor embedding(const Tensor& table, const Tensor& ids);
/// d_table[ids[t],:] += dy[t,:] for t = 0, 1, ... in this order; d_table: [V, D] f32.
void embedding_backward(const Tensor& dy, const Tensor& ids, Tensor& d_table);

}  // namespace wavllm::kernels
