#pragma once
// Weights for the cases of ops that multiply by a packed one.

#include "kernels/common/op_case.h"
#include "kernels/linear/packed_weight.h"

namespace wavllm {

/// The format that a case names by a parameter: "int8", "q8_0", "q4_1" or "q4_0", with "bf16" beside it since that is what is
/// multiplied; "bf16" alone; else f32.
DType packed_dtype(const Params& p);

/// w [N, K] with each value moved to one that `dtype` holds exactly, and that bf16 holds too: quantising and rounding change
/// nothing, so the float64 reference of w is that of the packed weight. f32: w itself. For blocks K is a multiple of 32.
Tensor on_grid(const Tensor& w, DType dtype);

}  // namespace wavllm
