#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y = x Phi(x) = x (1 + erf(x / sqrt 2)) / 2: the exact GELU (Hendrycks & Gimpel 2016), not its tanh approximation;
/// what Whisper and WavLM use. x, y: f32 of one shape.
Tensor gelu(const Tensor& x);
/// dx = dy (Phi(x) + x phi(x)), phi the density of the standard normal; recomputed from x.
Tensor gelu_backward(const Tensor& dy, const Tensor& x);

}  // namespace wavllm::kernels
