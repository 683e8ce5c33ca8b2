#pragma once
#include "kernels/conv1d/conv1d.h"

namespace wavllm {

/// Differentiable kernels::conv1d (kernels/conv1d/conv1d.h). borders: row borders of the sequences in x (not
/// differentiable).
Tensor conv1d(const Tensor& x, const Tensor& borders, const Tensor& w, const Tensor& bias, ConvGeometry geometry);
/// With a frozen weight.
Tensor conv1d(const Tensor& x, const Tensor& borders, const PackedConv& w, const Tensor& bias, ConvGeometry geometry);

}  // namespace wavllm
