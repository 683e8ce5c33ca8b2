#pragma once
// Frozen weights in few bits. The scale is fixed first, rounded to the f16 it is stored in, and the weights are then rounded
// to its nearest multiple: what is stored is exact but for that one rounding. tensor/dtype.h reads it back.

#include <string_view>

#include "tensor/dtype.h"

namespace wavllm {

/// One row of `columns` weights to int8, q8_0, q4_1 or q4_0; columns: a multiple of 32. Nearest, ties to even.
///   int8   x = d q, |q| <= 127, one d for the row: max |x| / 127. Error at most d / 2.
///   q8_0   the same with a d for each 32 weights.
///   q4_1   x = d q + m, 0 <= q <= 15, m the smallest of 32 weights, d their spread / 15. Error at most d / 2 and what f16
///          takes from m.
///   q4_0   x = d (q - 8), 0 <= q <= 15, d = -(the weight of largest size) / 8, so that this one is met. Error at most d / 2,
///          but d where a weight is nearly as large and of the other sign.
/// d is rounded so that nothing is clipped (q4_0 aside). Throws DTypeError for another dtype or columns that are no whole
/// blocks, and UsageError naming `what` for a weight that is not finite or too large for f16.
void quantize_row(DType dtype, const float* x, size_t columns, void* out, std::string_view what);

/// One row of q4_0 as q4_1: the same values (m = -8 d). blocks: how many.
void widen_q4_0(const void* q4_0, void* q4_1, size_t blocks);

}  // namespace wavllm
