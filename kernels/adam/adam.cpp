#include "kernels/adam/adam.h"

#include "kernels/common/loops.h"

namespace wavllm::kernels {

void adam_step(Tensor& param, const Tensor& grad, Tensor& m, Tensor& v, const AdamConfig& config, float lr,
               int64_t step, float grad_scale) {
    expect("adam_step", "param", param);
    expect("adam_step", "grad", grad, param.shape());
    expect("adam_step", "m", m, param.shape());
    expect("adam_step", "v", v, param.shape());
    if (step < 1) throw Error("adam_step: step must be at least 1, but is {}", step);
    // Everything that does not depend on the element is computed in double and rounded once.
    const auto t = static_cast<double>(step);
    const float rate = static_cast<float>(lr / (1 - std::pow(config.beta1, t)));
    const float inverse_root = static_cast<float>(1 / std::sqrt(1 - std::pow(config.beta2, t)));
    const float keep = static_cast<float>(1 - static_cast<double>(lr) * config.weight_decay);
    const float one_minus_beta1 = static_cast<float>(1 - config.beta1);
    const float beta2 = static_cast<float>(config.beta2), one_minus_beta2 = static_cast<float>(1 - config.beta2);
    const float eps = static_cast<float>(config.eps);
    const float* pg = grad.data<float>();
    float *pp = param.mutable_data<float>(), *pm = m.mutable_data<float>(), *pv = v.mutable_data<float>();
    parallel_for(param.numel(), 1 << 14, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const float g = pg[i] * grad_scale;
            pm[i] = std::fma(one_minus_beta1, g - pm[i], pm[i]);
            pv[i] = std::fma(one_minus_beta2 * g, g, beta2 * pv[i]);
            const float root = std::fma(std::sqrt(pv[i]), inverse_root, eps);
            pp[i] = pp[i] * keep - rate * pm[i] / root;
        }
    });
}

}  // namespace wavllm::kernels
