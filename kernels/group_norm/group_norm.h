#pragma once
#include "tensor/tensor.h"

namespace wavllm::kernels {

struct GroupNorm {
    Tensor y;
    /// [S, 2, C] f32: for every sequence and channel the mean of its group and r = 1/sqrt(variance + eps).
    Tensor moments;
};

/// y[t,c] = (x[t,c] - mean) r w[c] + b[c]            GroupNorm, Wu & He 2018, eq. 1-3
/// Mean and (biased) variance over all rows of a sequence and the C/groups neighbouring channels of c's group. With
/// groups = C, as in WavLM's first convolution, every channel has its own.
/// x, y: [T, C] f32, sequences end to end with the given borders; w, b: [C]. Rows are added up in chunks of 256 of their
/// sequence, chunks are merged in double (Chan et al. 1979): nothing cancels, and a sequence's bits depend on that
/// sequence alone. Throws ShapeError if w or b is not [C] or if groups does not divide C.
GroupNorm group_norm(const Tensor& x, const Tensor& borders, const Tensor& w, const Tensor& b, int64_t groups,
                     double eps);

/// dx like x, undefined unless wanted. With n = (x - mean) r, g = w dy, means over the group:
///     dx = r (g - mean(g) - n mean(g n))        dw += sum over rows of dy n        db += sum over rows of dy
/// dw, db: [C], null where not wanted; sequences are added in order.
Tensor group_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& borders, const Tensor& w,
                           const Tensor& moments, int64_t groups, bool want_dx, Tensor* dw, Tensor* db);

}  // namespace wavllm::kernels
