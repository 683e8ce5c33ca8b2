#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

struct CtcLosses {
    Tensor losses;           ///< [S] f32: -log p(target | rows) of each sequence; 0 for those that cannot be aligned
    Tensor dtokens, dblank;  ///< [T, C] and [T, 1]: scale * d(sum of losses)/dlogits; undefined unless asked for
    int64_t infeasible = 0;  ///< sequences with too few rows for their target
};

/// Connectionist temporal classification, Graves et al. 2006: each row emits one of C tokens or the blank, and a target
/// is reached by all ways of emitting it with repeats and blanks in between.
///   y[t,:] = softmax over the C tokens of row t and the blank
///   losses[s] = -log p,   p = sum over the alignments pi of target s to its rows of prod over t of y[t, pi_t]  (eq. 3)
///             by the forward variables alpha (eq. 6 to 8)
///   dlogits[t,k] = scale * (y[t,k] - sum over positions j of k in the target of alpha[t,j] beta[t,j] / p)   (eq. 16)
///             by the backward variables beta (eq. 10 and 11; here without the row's own y, so that alpha beta / p is the
///             share of the alignments that pass j in row t: its occupancy)
/// token_logits: [T, C] f32, C >= 1, rows of all sequences end to end; blank_logits: [T, 1] f32; borders: i64 [S+1],
/// rows of each sequence; targets: i32 [N] in [0, C); target_borders: i64 [S+1], targets of each sequence. A target may
/// be empty (all rows blank), and a sequence may have no rows.
///
/// Logits and results are on one device, borders and targets on the CPU.
///
/// A target of n tokens, r of them equal to the one before, needs n + r rows: sequences with fewer count in
/// `infeasible` and add nothing to loss and gradient. NaN and infinite logits are passed on: NaN or infinity in the
/// sequence's loss, NaN in its gradient.
///
/// A sequence's result depends on that sequence alone, in one fixed order. The gradient is made with the loss: one
/// tensor of the size of token_logits, nothing else of that size. Throws Error naming the position and the id if a
/// target is outside the C tokens, ShapeError if borders do not fit.
CtcLosses ctc_loss(const Tensor& token_logits, const Tensor& blank_logits, const Tensor& borders, const Tensor& targets,
                   const Tensor& target_borders, float scale, bool want_gradient);

}  // namespace wavllm::kernels
