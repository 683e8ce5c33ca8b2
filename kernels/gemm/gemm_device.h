#pragma once
// Products on devices, for the ops' .cpp files; what they are is in gemm_body.h.

#include "kernels/gemm/gemm_body.h"
#include "tensor/tensor.h"

namespace wavllm::kernels {

/// Lines of a contiguous f32 tensor or part of it.
Lines along(const float* data, int64_t stride);
Lines across(const float* data, int64_t stride);

/// Makes the product; with products == bf16 factors that are f32 are rounded first (into workspace).
void device_gemm(Device device, Product p, DType products = DType::f32);

/// Workspace for rows of bf16.
Tensor bf16_lines(int64_t rows, int64_t columns, Device device);
/// rows x columns of f32 lines rounded to bf16 (kept in memory), dropped and scaled on the way.
Lines rounded(Device device, const Lines& in, int64_t rows, int64_t columns, Tensor& memory,
              const DropoutMask& mask = {}, const RowScale& scale = {});

}  // namespace wavllm::kernels
