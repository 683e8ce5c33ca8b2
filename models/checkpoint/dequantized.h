#pragma once
#include <optional>

#include "models/checkpoint/checkpoint.h"

namespace wavllm {

/// A checkpoint as if its block formats (or one of them) had been stored in f32, rows made when they are asked for. What the
/// original's blocks cost or save is seen beside it. `original` must outlive it.
std::unique_ptr<Checkpoint> dequantized(const Checkpoint& original, std::optional<DType> only = {});

}  // namespace wavllm
