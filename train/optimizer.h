#pragma once
#include <array>

#include "kernels/adam/adam.h"
#include "models/parameter.h"

namespace wavllm {

/// How a group of parameters is trained from now on.
struct GroupSetting {
    bool trained = true;
    double rate = 1e-3;   ///< peak learning rate
    int64_t updates = 0;  ///< it had so far: Adam's bias correction counts them
};

/// By group, in the order of kParameterGroups.
using GroupSettings = std::array<GroupSetting, kParameterGroups.size()>;

/// Only this group is trained.
GroupSettings only_group(std::string_view group, double rate);

struct OptimizerConfig {
    AdamConfig adam{0.9, 0.98, 1e-8, 0};
    double clip_norm = 1.0;  ///< of all gradients together; 0: none
};

struct GradientNorms {
    double total = 0;                                      ///< before clipping
    std::array<double, kParameterGroups.size()> groups{};  ///< each group alone; 0 where it is frozen
    bool finite = true;
};

/// Adam over all parameters, with clipping by the norm of all gradients. Weight decay acts on matrices of the adapter
/// and of models that are pre-trained.
class Optimizer {
public:
    Optimizer(Parameters parameters, OptimizerConfig config, const GroupSettings& settings = {});

    /// Which groups are trained, and how; the others are frozen: nothing is recorded for them, their moments stay.
    void configure(const GroupSettings& settings);
    const GroupSettings& settings() const {
        return settings_;
    }
    /// Reads the gradients that backward() left. Throws TrainingError naming a parameter that got none, or one that is
    /// exactly zero everywhere though it is not declared so. step: for the message.
    GradientNorms norms(int64_t step) const;
    /// Clips, updates, and zeroes the gradients. factor: of the peak rates.
    void update(double factor, const GradientNorms& norms);
    void zero_gradients();

    const Parameters& parameters() const {
        return parameters_;
    }
    /// Adam's first and second moments, in the order of parameters().
    std::vector<Tensor>& first() {
        return m_;
    }
    std::vector<Tensor>& second() {
        return v_;
    }

private:
    struct Entry {
        size_t group;
        bool decays;
    };
    const GroupSetting& setting(size_t i) const {
        return settings_[entries_[i].group];
    }

    Parameters parameters_;
    std::vector<Entry> entries_;  // of each parameter
    OptimizerConfig config_;
    GroupSettings settings_;
    std::vector<Tensor> m_, v_;
    // of one step; kept so that a step asks nobody for memory
    mutable std::vector<Tensor> gradients_;
    mutable std::vector<double> squares_;
    std::vector<kernels::AdamParameter> steps_;
};

}  // namespace wavllm
