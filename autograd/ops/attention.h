#pragma once
#include "kernels/attention/attention.h"
#include "tensor/tensor.h"

namespace wavllm {

/// Differentiable kernels::attention (kernels/attention/attention.h): q [Tq, H, Dh], k, v [Tk, Hkv, Dh] to
/// [Tq, H*Dh]. Saves q, k, v, y and one number per row and head. Frozen q, or frozen k and v, cost nothing.
/// With the fusion "attention" switched off it runs attention_composed().
/// With a bias its gate and by_distance are differentiable too.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout,
                 const AttentionBias& bias = {});

/// The same by the definition, with all scores of a head in memory: what the fused op is compared with.
Tensor attention_composed(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout,
                          const AttentionBias& bias = {});

}  // namespace wavllm
