#pragma once
// The device's side of attention() and attention_backward(), which have checked their arguments.

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_body.h"

namespace wavllm::kernels::detail {

/// What the bodies are told of a call.
DeviceAttention describe_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout,
                                   const AttentionSizes& sizes);
AttentionForward attention_on_device(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout,
                                     const AttentionBias& bias, const AttentionSizes& sizes);
AttentionGradients attention_backward_on_device(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                                                const AttentionForward& forward, const AttentionLayout& layout,
                                                const AttentionWants& wants, const AttentionBias& bias,
                                                const AttentionSizes& sizes);

}  // namespace wavllm::kernels::detail
