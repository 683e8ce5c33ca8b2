#pragma once
#include <span>

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
/// param, grad, m, v: f32 of one shape, or f64 (lr and grad_scale are rounded to f32 unless they are); step counts from 1
/// (Error otherwise). grad_scale is what clipping leaves of the gradient. Element by element: same bits for any thread
/// count.
void adam_step(Tensor& param, const Tensor& grad, Tensor& m, Tensor& v, const AdamConfig& config, double lr,
               int64_t step, double grad_scale);

struct AdamParameter {
    Tensor* param;
    const Tensor* grad;
    Tensor *m, *v;
    double lr;
    int64_t step;
    double weight_decay;
};
/// adam_step for each parameter, all on one device, in the order given; weight_decay and lr are each one's own and not
/// that of `config`. On a device a launch works on dozens of them.
void adam_steps(std::span<const AdamParameter> parameters, const AdamConfig& config, double grad_scale);

}  // namespace kernels

}  // namespace wavllm
