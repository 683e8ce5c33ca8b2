#pragma once
#include "models/checkpoint/checkpoint.h"

namespace wavllm {

/// A checkpoint as if its block formats had been stored in f32: every tensor is f32, its rows made when they are asked for.
/// What the original's blocks cost or save is seen beside it. `original` must outlive it.
std::unique_ptr<Checkpoint> dequantized(const Checkpoint& original);

}  // namespace wavllm
