#pragma once
// The way to attention.cu, a step at a time. All compute the same, forward and in f32; tests/ops/ holds them against each
// other, and the counters of the emulator show what each step gains.
//
//   1. naive.cu              a thread a row: three passes over the keys, the scores computed in each. Neighbouring threads
//                            read memory that lies far apart.
//   2. online.cu             a warp a row: one pass with a running maximum, loads side by side. But every row still reads
//                            all keys and values for itself.
//   3. ../attention.cu       a block has a tile of rows: what it reads of k and v serves 32 or 64 rows, out of shared
//                            memory, and registers hold 4 x 4 scores a thread.
//   4. ../attention_bf16.cu  the same on tensor cores, with factors rounded to bf16.

#include "kernels/attention/attention_body.h"

namespace wavllm::kernels {

using AttentionStepBody = CudaBody<void(const DeviceAttention& a, float* y, float* log_sum_exp)>;
inline AttentionStepBody attention_naive_body{"attention, step 1"}, attention_online_body{"attention, step 2"};

}  // namespace wavllm::kernels
