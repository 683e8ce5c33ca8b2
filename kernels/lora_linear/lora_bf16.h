#pragma once
// lora_linear on a weight packed in bf16: all its products take factors rounded to bf16 and sum in f32.
#include "kernels/lora_linear/lora_linear.h"

namespace wavllm::kernels {

/// Whether LoRA's input is dropped at all.
bool drops(const DropoutKey* drop);
/// x with its rows dropped, in workspace memory; x itself where nothing is. (In lora_linear.cpp: both precisions use it.)
Tensor dropped(const Tensor& x, const DropoutKey* drop);

/// Arguments are checked by the caller.
LoraForward lora_linear_bf16(const Tensor& x, const PackedWeight& w, const Tensor& a, const Tensor& b,
                             const LoraScale& scale, const DropoutKey* drop);
void lora_linear_backward_bf16(const Tensor& dy, const Tensor& x, const Tensor& u, const PackedWeight& w,
                               const Tensor& a, const Tensor& b, const LoraScale& scale, const DropoutKey* drop,
                               const LoraGradients& out);

}  // namespace wavllm::kernels
