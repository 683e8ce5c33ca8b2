#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y = s * x for a learned number s (the temperature of cosine logits, say). x, y: f32 of one shape, s: [1] f32. Its own
/// backward by x: dx = scalar_mul(dy, s). Throws ShapeError if s is not [1].
Tensor scalar_mul(const Tensor& x, const Tensor& s);
/// ds += sum of dy * x, row by row in order (a batch cut in pieces gives the same bits); ds: [1]. On a device the order
/// is a tree over fixed chunks.
void scalar_mul_backward_s(const Tensor& dy, const Tensor& x, Tensor& ds);

}  // namespace wavllm::kernels
