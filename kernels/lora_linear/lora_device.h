#pragma once
// lora_linear on devices, in both precisions: all of it is products (kernels/gemm/gemm_device.h). Arguments are checked by
// the caller.
#include "kernels/lora_linear/lora_linear.h"

namespace wavllm::kernels {

LoraForward lora_linear_device(const Tensor& x, const PackedWeight& w, const Tensor& a, const Tensor& b,
                               const LoraScale& scale, const DropoutKey* drop);
void lora_linear_backward_device(const Tensor& dy, const Tensor& x, const Tensor& u, const PackedWeight& w,
                                 const Tensor& a, const Tensor& b, const LoraScale& scale, const DropoutKey* drop,
                                 const LoraGradients& out);

}  // namespace wavllm::kernels
