#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

#include "autograd/tape.h"
#include "kernels/sum_all/sum_all.h"

namespace wavllm {

namespace {

size_t group_of(const Parameter& p) {
    const auto at = std::find(kParameterGroups.begin(), kParameterGroups.end(), p.group);
    if (at == kParameterGroups.end())
        throw UsageError("optimizer: parameter \"{}\" is in group \"{}\"; learning rates exist for {}", p.name, p.group,
                         fmt::join(kParameterGroups, ", "));
    return static_cast<size_t>(at - kParameterGroups.begin());
}

/// Of the system that WavLLM trains, the adapter alone; of a whole model that is pre-trained, every matrix.
bool decays(std::string_view group) {
    return group == "adapter" || group == "wavlm" || group == "llama" || group == "whisper";
}

}  // namespace

GroupSettings only_group(std::string_view group, double rate) {
    GroupSettings settings;
    for (size_t i = 0; i < settings.size(); ++i) settings[i] = {kParameterGroups[i] == group, rate, 0};
    return settings;
}

Optimizer::Optimizer(Parameters parameters, OptimizerConfig config, const GroupSettings& settings)
    : parameters_(std::move(parameters)), config_(config) {
    PurposeScope scope(Purpose::optimizer);
    for (const Parameter& p : parameters_) {
        entries_.push_back({group_of(p), decays(p.group) && p.tensor.rank() >= 2});
        for (auto* moments : {&m_, &v_})
            moments->push_back(Tensor::zeros(p.tensor.shape(), p.tensor.dtype(), p.tensor.device()));
    }
    configure(settings);
}

void Optimizer::configure(const GroupSettings& settings) {
    settings_ = settings;
    for (size_t i = 0; i < parameters_.size(); ++i) set_frozen(parameters_[i].tensor, !setting(i).trained);
}

GradientNorms Optimizer::norms(int64_t step) const {
    GradientNorms norms;
    gradients_.clear();
    for (size_t i = 0; i < parameters_.size(); ++i) {
        if (!setting(i).trained) continue;
        const Parameter& p = parameters_[i];
        if (!gradient_arrived(p.tensor))
            throw TrainingError(
                "train: parameter \"{}\" received no gradient in step {}; it is trainable but does not reach the "
                "loss; freeze it or use it",
                p.name, step);
        gradients_.push_back(grad(p.tensor));
    }
    squares_.resize(gradients_.size());
    kernels::sums_of_squares(gradients_, squares_);
    for (size_t i = 0, next = 0; i < parameters_.size(); ++i) {
        if (!setting(i).trained) continue;
        const Parameter& p = parameters_[i];
        const double squares = squares_[next++];
        norms.finite = norms.finite && std::isfinite(squares);
        // LoRA's A gets none in its first step, while B is zero
        if (squares == 0 && setting(i).updates >= p.zero_updates)
            throw TrainingError(
                "train: the gradient of parameter \"{}\" is exactly zero in step {}; something cuts it off from "
                "the loss{}",
                p.name, step,
                p.group == "prompt" ? ": of a LoRA whose B is zero its strength changes nothing; train LoRA first, or "
                                      "beside it (trains=adapter+lora+prompt)"
                                    : "");
        norms.groups[entries_[i].group] += squares;
    }
    double sum = 0;
    for (double& squares : norms.groups) {
        sum += squares;
        squares = std::sqrt(squares);
    }
    norms.total = std::sqrt(sum);
    return norms;
}

void Optimizer::update(double factor, const GradientNorms& norms) {
    const double clip = config_.clip_norm > 0 && norms.total > config_.clip_norm ? config_.clip_norm / norms.total : 1;
    gradients_.clear();
    gradients_.reserve(parameters_.size());  // steps_ points at them
    steps_.clear();
    for (size_t i = 0; i < parameters_.size(); ++i) {
        const GroupSetting& group = setting(i);
        if (!group.trained) continue;
        gradients_.push_back(grad(parameters_[i].tensor));
        steps_.push_back({.param = &parameters_[i].tensor,
                          .grad = &gradients_.back(),
                          .m = &m_[i],
                          .v = &v_[i],
                          .lr = group.rate * factor,
                          .step = group.updates + 1,
                          .weight_decay = entries_[i].decays ? config_.adam.weight_decay : 0});
    }
    kernels::adam_steps(steps_, config_.adam, clip);
    gradients_.clear();
    for (GroupSetting& group : settings_) group.updates += group.trained;
    zero_gradients();
}

void Optimizer::zero_gradients() {
    for (size_t i = 0; i < parameters_.size(); ++i)
        if (setting(i).trained) zero_grad(parameters_[i].tensor, true);
}

}  // namespace wavllm
