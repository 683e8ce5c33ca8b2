#pragma once
#include "kernels/lora_linear/lora_linear.h"

namespace wavllm {

/// Differentiable y = x W^T + ((drop(x) A) B) * scale (kernels/lora_linear/lora_linear.h), fused.
/// Composition: linear, dropout, matmul, matmul, scale or segment_scale, add. Gradients of x, A, B and scale.r; W is
/// frozen.
Tensor lora_linear(const Tensor& x, const PackedWeight& w, const Tensor& a, const Tensor& b, const LoraScale& scale,
                   const DropoutKey* drop = nullptr);

}  // namespace wavllm
