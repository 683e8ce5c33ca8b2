#include "kernels/adam/adam.h"

#include "kernels/adam/adam_body.h"
#include "kernels/adam/adam_f64.h"
#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"

namespace wavllm::kernels {

namespace {

/// Everything that does not depend on the element is computed in double and rounded once.
AdamFactors factors_of(const AdamConfig& config, float lr, int64_t step, float grad_scale) {
    const auto t = static_cast<double>(step);
    return {.rate = static_cast<float>(lr / (1 - std::pow(config.beta1, t))),
            .inverse_root = static_cast<float>(1 / std::sqrt(1 - std::pow(config.beta2, t))),
            .keep = static_cast<float>(1 - static_cast<double>(lr) * config.weight_decay),
            .one_minus_beta1 = static_cast<float>(1 - config.beta1),
            .beta2 = static_cast<float>(config.beta2),
            .one_minus_beta2 = static_cast<float>(1 - config.beta2),
            .eps = static_cast<float>(config.eps),
            .grad_scale = grad_scale};
}

AdamSlice slice_of(const AdamParameter& p, const AdamConfig& config, double grad_scale, Device device) {
    expect("adam_step", "param", *p.param, DType::f32, device);
    expect("adam_step", "grad", *p.grad, p.param->shape(), DType::f32, device);
    expect("adam_step", "m", *p.m, p.param->shape(), DType::f32, device);
    expect("adam_step", "v", *p.v, p.param->shape(), DType::f32, device);
    AdamConfig with_decay = config;
    with_decay.weight_decay = p.weight_decay;
    return {p.param->mutable_device_data<float>(),
            p.grad->device_data<float>(),
            p.m->mutable_device_data<float>(),
            p.v->mutable_device_data<float>(),
            p.param->numel(),
            factors_of(with_decay, static_cast<float>(p.lr), p.step, static_cast<float>(grad_scale))};
}

void step_on_cpu(const AdamSlice& s) {
    const AdamFactors f = s.factors;
    parallel_for(s.n, 1 << 14, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const float g = s.grad[i] * f.grad_scale;
            s.m[i] = std::fma(f.one_minus_beta1, g - s.m[i], s.m[i]);
            s.v[i] = std::fma(f.one_minus_beta2 * g, g, f.beta2 * s.v[i]);
            const float root = std::fma(std::sqrt(s.v[i]), f.inverse_root, f.eps);
            s.param[i] = s.param[i] * f.keep - f.rate * s.m[i] / root;
        }
    });
}

}  // namespace

void adam_steps(std::span<const AdamParameter> parameters, const AdamConfig& config, double grad_scale) {
    for (const AdamParameter& p : parameters)
        if (p.step < 1) throw Error("adam_step: step must be at least 1, but is {}", p.step);
    if (!parameters.empty() && f64::runs(*parameters[0].param)) {
        for (const AdamParameter& p : parameters) f64::adam_step(p, config, grad_scale);
        return;
    }
    constexpr size_t kMost = 64;  // slices on the stack: no heap in a step
    AdamSlice slices[kMost];
    for (size_t begin = 0; begin < parameters.size(); begin += kMost) {
        const auto part = parameters.subspan(begin, std::min(kMost, parameters.size() - begin));
        const Device device = parameters[0].param->device();
        for (size_t i = 0; i < part.size(); ++i) slices[i] = slice_of(part[i], config, grad_scale, device);
        if (device != Device::cpu)
            on(adam_body, device)(slices, static_cast<int64_t>(part.size()));
        else
            for (size_t i = 0; i < part.size(); ++i) step_on_cpu(slices[i]);
    }
}

void adam_step(Tensor& param, const Tensor& grad, Tensor& m, Tensor& v, const AdamConfig& config, double lr,
               int64_t step, double grad_scale) {
    const AdamParameter one{&param, &grad, &m, &v, lr, step, config.weight_decay};
    adam_steps({&one, 1}, config, grad_scale);
}

}  // namespace wavllm::kernels
