#pragma once
#include "tensor/tensor.h"

namespace wavllm {

struct AdamConfig {
    double beta1 = 0.9, beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0;  ///< decoupled (AdamW, Loshchilov & Hutter 2019) where > 0
};

namespace kernels {

/// One step of Adam (Kingma & Ba 2015, algorithm 1) in place, as torch.optim.Adam/AdamW compute it:
///     g = grad * grad_scale;  param *= 1 - lr * weight_decay
///     m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2
///     param -= lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
/// param, grad, m, v: f32 of one shape; step counts from 1 (Error otherwise). grad_scale is what clipping leaves of the
/// gradient. Element by element: same bits for any thread count.
void adam_step(Tensor& param, const Tensor& grad, Tensor& m, Tensor& v, const AdamConfig& config, float lr,
               int64_t step, float grad_scale);

}  // namespace kernels

}  // namespace wavllm
