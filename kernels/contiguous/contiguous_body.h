#pragma once
// The CUDA body of contiguous (contiguous.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// Up to five dimensions, the last running fastest; strides in elements.
struct StridedView {
    int rank = 0;
    int64_t size[5] = {}, stride[5] = {};
};

/// x: of elements of 1, 2, 4 or 8 bytes; y: as many, in row-major order.
using CopyStrided = void(const void* x, const StridedView& view, int element_bytes, void* y);
inline CudaBody<CopyStrided> contiguous_body{"contiguous"};
/// The same by a thread an element, whatever the strides: the first step of the ladder.
inline CudaBody<CopyStrided> contiguous_naive_body{"contiguous, naive"};

}  // namespace wavllm::kernels
