#pragma once
// The CUDA body of embedding (embedding.cu). All pointers are of the device, ids were checked on the CPU. Its backward is
// add_rows_body of kernels/rows/rows_body.h.

#include "kernels/simt/body.h"
#include "tensor/dtype.h"

namespace wavllm::kernels {

/// table: rows of d elements of f32, bf16, f16, q8_0 or q4_1.
inline CudaBody<void(const void* table, DType dtype, const int32_t* ids, float* y, int64_t rows, int64_t d)>
    embedding_body{"embedding"};

}  // namespace wavllm::kernels
