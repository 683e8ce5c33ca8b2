#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// Which elements of a head form the pair that is rotated by frequency i, i < Dh/2.
enum class RopeLayout : uint8_t {
    half_split,   ///< (i, i + Dh/2): Hugging Face
    interleaved,  ///< (2i, 2i + 1): Meta, the paper
};

struct RopeTable {
    Tensor cos, sin;  ///< [positions, Dh/2] f32 or f64
};

/// cos and sin of position * theta^(-2i/Dh), computed in double and rounded once (to f32). Throws ShapeError for an odd Dh or
/// no positions.
RopeTable make_rope_table(int64_t max_positions, int64_t head_dim, double theta, DType dtype = DType::f32);

namespace kernels {

/// Rotary position embedding (Su et al. 2021, eq. 34): every pair (a, b) of every head becomes
///     (a cos - b sin, a sin + b cos)      with cos, sin of the row's position
/// or with -sin if `inverse`, which is also the gradient. x: [T, H, Dh] f32, rows and heads may be strided, Dh must be
/// contiguous; positions: i32 [T] on the CPU or on x's device; the result is contiguous. Throws ShapeError for a position
/// on the CPU that is outside the table; on a device whoever wrote them there has looked.
Tensor rope(const Tensor& x, const Tensor& positions, const RopeTable& table, RopeLayout layout, bool inverse = false);

}  // namespace kernels

}  // namespace wavllm
