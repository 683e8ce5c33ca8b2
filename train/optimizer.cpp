#include "train/optimizer.h"

#include <cmath>

#include "autograd/tape.h"
#include "kernels/sum_all/sum_all.h"

namespace wavllm {

Optimizer::Optimizer(Parameters parameters, OptimizerConfig config)
    : parameters_(std::move(parameters)), config_(config) {
    for (const Parameter& p : parameters_)
        if (p.group != "adapter" && p.group != "lora")
            throw UsageError(
                "optimizer: parameter \"{}\" is in group \"{}\"; learning rates exist for adapter and lora", p.name,
                p.group);
    PurposeScope scope(Purpose::optimizer);
    for (const Parameter& p : parameters_) {
        m_.push_back(Tensor::zeros(p.tensor.shape()));
        v_.push_back(Tensor::zeros(p.tensor.shape()));
    }
}

GradientNorms Optimizer::norms(int64_t step) const {
    GradientNorms norms;
    double adapter = 0, lora = 0;
    for (const Parameter& p : parameters_) {
        const Tensor g = grad(p.tensor);
        if (!gradient_arrived(p.tensor))
            throw TrainingError(
                "train: parameter \"{}\" received no gradient in step {}; it is trainable but does not reach the "
                "loss; freeze it or use it",
                p.name, step);
        const double squares = kernels::sum_of_squares(g);
        norms.finite = norms.finite && std::isfinite(squares);
        // LoRA's A gets none in the first step, while B is zero
        if (squares == 0 && !(p.may_be_zero && step == 0))
            throw TrainingError(
                "train: the gradient of parameter \"{}\" is exactly zero in step {}; something cuts it off from "
                "the loss",
                p.name, step);
        (p.group == "lora" ? lora : adapter) += squares;
    }
    norms.adapter = std::sqrt(adapter);
    norms.lora = std::sqrt(lora);
    norms.total = std::sqrt(adapter + lora);
    return norms;
}

void Optimizer::update(int64_t step, double factor, const GradientNorms& norms) {
    const double clip = config_.clip_norm > 0 && norms.total > config_.clip_norm ? config_.clip_norm / norms.total : 1;
    for (size_t i = 0; i < parameters_.size(); ++i) {
        Parameter& p = parameters_[i];
        AdamConfig adam = config_.adam;
        if (p.group != "adapter" || p.tensor.rank() < 2) adam.weight_decay = 0;
        const double rate = (p.group == "lora" ? config_.lora_rate : config_.adapter_rate) * factor;
        kernels::adam_step(p.tensor, grad(p.tensor), m_[i], v_[i], adam, static_cast<float>(rate), step + 1,
                           static_cast<float>(clip));
    }
    zero_gradients();
}

void Optimizer::zero_gradients() {
    for (const Parameter& p : parameters_) zero_grad(p.tensor, true);
}

}  // namespace wavllm
