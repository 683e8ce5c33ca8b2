#pragma once
// The memory of the GPU behind Device::cuda.

#include "kernels/cuda/caching_allocator.h"

namespace wavllm::cuda {

/// The one allocator of the process; exists once the device was found.
CachingAllocator& gpu_allocator();

}  // namespace wavllm::cuda
