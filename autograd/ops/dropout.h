#pragma once
#include "kernels/dropout/dropout.h"

namespace wavllm {

using kernels::DropoutKey;

/// Differentiable kernels::dropout (kernels/dropout/dropout.h). Saves the key; for p = 0 it is x itself and leaves
/// nothing on the tape.
Tensor dropout(const Tensor& x, const DropoutKey& key);

}  // namespace wavllm
