#pragma once
#include <initializer_list>
#include <span>

#include "tensor/tensor.h"

namespace wavllm {

// Differentiable row movers (kernels/rows/rows.h). They save at most their index or plan.

/// `concat_rows({a, b, c})`, up to 8 tensors.
Tensor concat_rows(std::span<const Tensor> tensors);
inline Tensor concat_rows(std::initializer_list<Tensor> tensors) {
    return concat_rows(std::span<const Tensor>(tensors.begin(), tensors.size()));
}
Tensor gather_rows(const Tensor& x, const Tensor& index);
/// A frozen source costs nothing on the way back.
Tensor splice_rows(const Tensor& a, const Tensor& b, const Tensor& plan);

}  // namespace wavllm
