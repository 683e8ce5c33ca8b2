#pragma once
// Adam in double, as the paper writes it: the biased moments, then their corrections.

#include "kernels/adam/adam.h"
#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline void adam_step(const AdamParameter& a, const AdamConfig& c, double grad_scale) {
    const In in("adam_step", "grad", *a.grad, a.param->shape());
    for (const auto& [name, t] : {std::pair{"param", a.param}, {"m", a.m}, {"v", a.v}})
        expect("adam_step", name, *t, a.param->shape(), DType::f64);
    double *p = a.param->mutable_data<double>(), *pm = a.m->mutable_data<double>(), *pv = a.v->mutable_data<double>();
    const auto t = static_cast<double>(a.step);
    for (int64_t i = 0; i < a.param->numel(); ++i) {
        const double g = in[i] * grad_scale;
        pm[i] = c.beta1 * pm[i] + (1 - c.beta1) * g;
        pv[i] = c.beta2 * pv[i] + (1 - c.beta2) * g * g;
        const double m_hat = pm[i] / (1 - std::pow(c.beta1, t)), v_hat = pv[i] / (1 - std::pow(c.beta2, t));
        p[i] -= a.lr * a.weight_decay * p[i];
        p[i] -= a.lr * m_hat / (std::sqrt(v_hat) + c.eps);
    }
}

}  // namespace wavllm::kernels::f64
