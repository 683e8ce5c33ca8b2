#pragma once
// Cross-entropy in double. Targets have been checked.

#include "kernels/common/f64.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/linear/linear_f64.h"

namespace wavllm::kernels::f64 {

/// log of the sum of e^z over a row.
inline double log_sum_exp(const double* z, int64_t n) {
    const double top = *std::max_element(z, z + n);
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += std::exp(z[i] - top);
    return top + std::log(sum);
}

inline Tensor cross_entropy_logits(const Tensor& logits, const int32_t* targets) {
    const In z("cross_entropy", "logits", logits);
    const int64_t v = z.columns();
    Tensor losses = zeros({z.rows()});
    double* out = losses.mutable_data<double>();
    for (int64_t row = 0; row < z.rows(); ++row) out[row] = log_sum_exp(z.at(row * v), v) - z[row * v + targets[row]];
    return losses;
}

inline Tensor cross_entropy_logits_backward(const Tensor& logits, const int32_t* targets, const Tensor& dlosses) {
    const In z("cross_entropy backward", "logits", logits),
        d("cross_entropy backward", "dlosses", dlosses, {logits.rows()});
    const int64_t v = z.columns();
    Tensor dlogits = zeros(logits.shape());
    double* out = dlogits.mutable_data<double>();
    for (int64_t row = 0; row < z.rows(); ++row) {
        const double log_sum = log_sum_exp(z.at(row * v), v);
        for (int64_t i = 0; i < v; ++i) out[row * v + i] = d[row] * std::exp(z[row * v + i] - log_sum);
        out[row * v + targets[row]] -= d[row];
    }
    return dlogits;
}

/// With a frozen head [V, D].
inline RowLosses cross_entropy(const Tensor& x, const Tensor& head, const int32_t* targets, double scale,
                               bool want_dx) {
    const Tensor logits = linear(x, head, {});
    RowLosses result{cross_entropy_logits(logits, targets), {}};
    if (want_dx)
        result.dx = linear_backward_x(
            cross_entropy_logits_backward(logits, targets, Tensor::full({logits.rows()}, scale, DType::f64)), head);
    return result;
}

}  // namespace wavllm::kernels::f64
