#pragma once
#include "models/llama/llama.h"

namespace wavllm {

/// A LLaMA of these sizes with random weights, for timings and tests: uniform with standard deviation 1/sqrt(columns),
/// so that activations and logits keep a size of about 1 at any width; norms are 1. Philox(seed, tensor's name): the
/// same on any machine and thread count. The output matrix is the embedding (tied) unless tied is false.
Llama random_llama(const LlamaConfig& config, uint64_t seed, bool tied = true, DType panels = DType::f32);

}  // namespace wavllm
