#pragma once
#include <span>

#include "tensor/tensor.h"

namespace wavllm::kernels {

/// y = the sum of all elements of x (f32, any shape), as f32 [1]; 0 for no elements. Chunks of 16384 elements are
/// summed on 16 lanes each and the chunks added in order in double: the same bits for any thread count. On a device the
/// order is another one, also set by the number of elements alone.
Tensor sum_all(const Tensor& x);
/// dx of shape `shape`, dy [1] in every element.
Tensor sum_all_backward(const Tensor& dy, const Shape& shape);

/// The sum of the squares of all elements of an f32 tensor, computed in double in fixed chunks: for gradient norms and
/// clipping. NaN or infinity if an element is. Of a tensor on a device it waits for the device.
double sum_of_squares(const Tensor& x);
/// sums[i] = sum_of_squares(tensors[i]) for tensors on one device: on another than the CPU a launch works on many of them,
/// and the host waits once. Throws Error unless there are as many sums as tensors.
void sums_of_squares(std::span<const Tensor> tensors, std::span<double> sums);

}  // namespace wavllm::kernels
