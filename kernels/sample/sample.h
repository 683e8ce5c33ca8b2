#pragma once
#include "tensor/tensor.h"

namespace wavllm {

/// How a token is chosen from logits z [V].
struct Sampling {
    float temperature = 1;  ///< 0: greedy, the first of the largest logits
    int64_t top_k = 0;      ///< keep what is not below the k-th largest logit; 0: all
    float top_p = 1;  ///< then keep the smallest {z >= t} that has at least this share of the mass (Holtzman 2020)
    uint64_t seed = 0;
};

namespace kernels {

struct Sampled {
    Tensor ids;        ///< [N] i32
    Tensor log_probs;  ///< [N] f32: log_softmax(z)[id], of the model itself: before temperature, top_k and top_p
};

/// Draws a token from each row with probabilities in proportion to e^(z / temperature) over what is kept; equal logits
/// are kept or left out together. The random number is Philox's at (seed, requests[i], positions[i]) and no others' (see
/// draw_bits in weights.h), so a request's text does not depend on the batch it is in. Weights are integers (weights.h):
/// cpu, sim and cuda choose the same tokens of the same logits.
/// logits: [N, V] f32, V <= 2^22; requests, positions: i64 [N] on the CPU, positions from 0 to 2^32 - 1. The results are
/// where the logits are. -inf is a logit like any other. A row with a NaN or +inf, or of nothing but -inf, gives id -1 and
/// log-probability NaN: a device cannot throw, so look at the ids.
/// Throws UsageError for a negative or infinite temperature, top_k < 0 or top_p outside (0, 1], ShapeError for shapes or
/// positions that do not fit.
Sampled sample(const Tensor& logits, const Sampling& sampling, const Tensor& requests, const Tensor& positions);

}  // namespace kernels

}  // namespace wavllm
