#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y = low where x < low, high where x > high, x between them: relu, then clamp, as the released WavLLM limits r to [0, 3].
/// x, y: f32 (or f64) of one shape; in f32 the limits are rounded to it. NaN stays NaN. Throws UsageError unless low < high.
Tensor clamp(const Tensor& x, double low, double high);
/// dx = dy where low < x <= high, 0 elsewhere: at low it is relu's derivative, at high that of torch's clamp.
Tensor clamp_backward(const Tensor& dy, const Tensor& x, double low, double high);

}  // namespace wavllm::kernels
