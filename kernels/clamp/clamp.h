#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y = low where x < low, high where x > high, x between them: relu, then clamp, as the released WavLLM limits r to [0, 3].
/// x, y: f32 of one shape. NaN stays NaN. Throws UsageError unless low < high.
Tensor clamp(const Tensor& x, float low, float high);
/// dx = dy where low < x <= high, 0 elsewhere: at low it is relu's derivative, at high that of torch's clamp.
Tensor clamp_backward(const Tensor& dy, const Tensor& x, float low, float high);

}  // namespace wavllm::kernels
